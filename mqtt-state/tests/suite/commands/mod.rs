//! What a command is refused for, in either role, and what becomes of one that is not.

mod client;
mod server;
