//! Programs that are weighed: how much flash and memory a machine takes in firmware.
//!
//! Each one reaches all that a device would call, with inputs of which the compiler knows nothing, so that
//! the linker keeps what a real program would have. `.ci/footprint` builds and weighs them.

#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::panic::PanicInfo;

use mqtt_codec::{Message, QoS};
use mqtt_state::Timestamp;
use mqtt_state::client::Client;

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Firmware brings an allocator of its own; this one has nothing to give, and so next to no size.
struct Nothing;

// SAFETY: memory that is never handed out is never given back.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        black_box(layout);
        black_box(core::ptr::null_mut())
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        black_box((memory, layout));
    }
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

/// Bytes of which the compiler knows nothing.
#[must_use]
pub fn any_bytes() -> &'static [u8] {
    black_box(&[0; 64])
}

/// A time of which the compiler knows nothing.
#[must_use]
pub fn any_time() -> Timestamp {
    Timestamp::from_nanos(black_box(0))
}

/// A message at any QoS.
#[must_use]
pub fn any_message() -> Option<Message> {
    let message = Message::from_slice("site/7/light", any_bytes()).ok()?;
    Some(message.with_qos(black_box(QoS::AtLeastOnce)))
}

/// One turn of a client's loop, but for its events.
pub fn turn(client: &mut Client, out: &mut Vec<u8>) {
    let _more = black_box(client.poll_transmit(any_time(), 256, out));
    let _taken = black_box(client.handle_input(any_time(), any_bytes()));
    let _due = black_box(client.poll_timeout());
    client.handle_timeout(any_time());
    client.handle_close(any_time());
}

/// A program that does one thing, with the bytes that its machine takes where it stands, to be read out
/// of the program.
#[macro_export]
macro_rules! program {
    ($machine:ty, $work:expr) => {
        #[used]
        #[unsafe(link_section = ".machine_size")]
        static MACHINE_SIZE: u32 = size_of::<$machine>() as u32;

        #[unsafe(no_mangle)]
        pub extern "C" fn _start() -> ! {
            core::hint::black_box($work);
            loop {}
        }
    };
}
