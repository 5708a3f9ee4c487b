//! One connection in the server role, for a gateway.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use footprint::{any_bytes, any_message, any_time};
use mqtt_codec::{ConnectReason, DisconnectReason, SubscribeReason, UnsubscribeReason};
use mqtt_state::server::{Acceptance, Config, Connection, Event};

fn answer(connection: &mut Connection, event: Event) {
    let now = any_time();
    match event {
        Event::Connect(_) if black_box(true) => {
            let _refused = connection.accept(now, Acceptance::default());
        }
        Event::Connect(_) => {
            let _refused = connection.reject(now, ConnectReason::NotAuthorized);
        }
        Event::Publish {
            receipt: Some(receipt),
            ..
        } => {
            let _refused = connection.ack(now, receipt);
        }
        Event::Subscribe { token, .. } => {
            let granted = black_box(SubscribeReason::GrantedQoS1);
            let _refused = connection.answer_subscribe(now, token, &[granted]);
        }
        Event::Unsubscribe { token, .. } => {
            let _refused = connection.answer_unsubscribe(now, token, &[UnsubscribeReason::Success]);
        }
        other => drop(black_box(other)),
    }
}

footprint::program!(Connection, {
    let mut connection = Connection::new(any_time(), Config::default());
    let mut out = Vec::new();
    while black_box(true) {
        while let Some(event) = connection.poll_event() {
            answer(&mut connection, event);
        }
        if let Some(message) = any_message() {
            let _token = black_box(connection.deliver(any_time(), message));
        }
        connection.disconnect(any_time(), DisconnectReason::ServerShuttingDown);
        let _more = black_box(connection.poll_transmit(any_time(), 256, &mut out));
        let _taken = black_box(connection.handle_input(any_time(), any_bytes()));
        let _due = black_box(connection.poll_timeout());
        connection.handle_timeout(any_time());
        connection.handle_close(any_time());
    }
    (connection.into_session(), out)
});
