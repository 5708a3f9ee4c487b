//! Files with what clients have said in them, passwords perhaps: who makes one is the only one who reads it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

/// Opens a file to write, or makes one. One that is there stays whose it is.
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}
