//! A broker that asks nobody and keeps nothing elsewhere.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use footprint::{any_bytes, any_time};
use mqtt_state::broker::{Broker, Config, Peer};

footprint::program!(Broker, {
    let mut broker = Broker::new(Config::default());
    let mut out = Vec::new();
    while black_box(true) {
        if let Ok(id) = broker.accept(any_time(), Peer::default()) {
            let _taken = black_box(broker.handle_input(any_time(), id, any_bytes()));
            broker.handle_close(any_time(), id);
        }
        while let Some(id) = broker.poll_ready() {
            let _more = black_box(broker.poll_transmit(any_time(), id, 256, &mut out));
        }
        while let Some(event) = broker.poll_event() {
            drop(black_box(event));
        }
        let _due = black_box(broker.poll_timeout());
        broker.handle_timeout(any_time());
    }
    out
});
