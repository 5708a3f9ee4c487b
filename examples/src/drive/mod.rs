//! Two drivers for the client machine. Each offers the three ways of driving that people know:
//! one step at a time, run for ever with reconnect, and in the background.

pub mod blocking;
pub mod tokio;

/// Bytes asked of the machine, and of the socket, in one go.
const CHUNK: usize = 16 * 1024;
