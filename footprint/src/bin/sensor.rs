//! A client that publishes and never subscribes.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use footprint::{any_message, any_time, turn};
use mqtt_codec::{Connect, ProtocolVersion, Str};
use mqtt_state::client::{Client, Config, Event};

footprint::program!(Client, {
    let mut client = Client::new(Config::default());
    let mut out = Vec::new();
    if let Ok(client_id) = Str::new("sensor-7") {
        let _refused = client.connect(any_time(), &Connect::new(ProtocolVersion::V5_0, client_id));
    }
    while black_box(true) {
        while let Some(event) = client.poll_event() {
            match event {
                Event::Published { token, .. } => drop(black_box(token)),
                Event::Closed { cause, .. } => drop(black_box(cause)),
                _other => {}
            }
        }
        if let Some(message) = any_message() {
            let _token = black_box(client.publish(any_time(), message));
        }
        turn(&mut client, &mut out);
    }
    out
});
