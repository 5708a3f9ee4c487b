//! Programs that link only if no panic can be reached.
//!
//! The panic handler calls a function that does not exist. Where the compiler can show that
//! nothing panics, the call is gone; where it cannot, the linker complains.

#![no_std]

use core::panic::PanicInfo;

unsafe extern "C" {
    safe fn a_panic_can_be_reached() -> !;
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    a_panic_can_be_reached()
}

/// Bytes of which the compiler knows nothing.
#[must_use]
pub fn any_bytes() -> &'static [u8] {
    core::hint::black_box(&[0_u8; 64])
}

/// A program that does one thing.
#[macro_export]
macro_rules! program {
    ($work:expr) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn _start() -> ! {
            core::hint::black_box($work);
            loop {}
        }
    };
}
