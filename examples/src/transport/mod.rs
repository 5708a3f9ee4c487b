//! What carries the bytes besides plain TCP: TLS and WebSocket, for the broker and for both drivers.

mod cut;
pub mod target;
pub mod tls;
pub mod websocket;
