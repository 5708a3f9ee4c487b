//! Packets for people: bytes to JSON, JSON to bytes, and every byte with its meaning.
//!
//! The layout of each packet is written once, as the tables of the standard show it. One pass
//! over it reads bytes, another writes them. Neither judges: that is the codec's business, which
//! sees the bytes before the first and after the second.

mod layout;
mod read;
mod write;

pub use read::{Part, dump, json, message};
pub use write::bytes;

/// The bytes of hexadecimal digits, with or without spaces between them.
pub fn from_hex(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    anyhow::ensure!(
        digits.len().is_multiple_of(2),
        "an odd number of hexadecimal digits"
    );
    digits
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair)?;
            u8::from_str_radix(pair, 16)
                .map_err(|_| anyhow::anyhow!("{pair:?} are no hexadecimal digits"))
        })
        .collect()
}
