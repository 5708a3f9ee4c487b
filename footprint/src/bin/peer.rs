//! The nearest crate, mqtt-protocol-core, as a client that publishes and never subscribes: beside `sensor`.
//! It has no queue and no session beyond what is in flight, and both versions as ours.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use footprint::any_bytes;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{Event, TimerKind, role};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::{Connection, Version};

type Client = Connection<role::Client>;

fn take(events: Vec<Event>, out: &mut Vec<u8>) {
    for event in events {
        match event {
            Event::RequestSendPacket { packet, .. } => {
                out.extend_from_slice(&packet.to_continuous_buffer());
            }
            other => drop(black_box(other)),
        }
    }
}

/// CONNECT and a PUBLISH of one version.
macro_rules! publish {
    ($version:ident, $client:ident, $out:ident) => {
        let connect = $version::Connect::builder().client_id("sensor-7");
        if let Ok(connect) = connect.and_then(|it| it.build()) {
            take($client.send(Packet::from(connect)), &mut $out);
        }
        let publish = $version::Publish::builder().topic_name("site/7/light");
        if let Ok(id) = $client.acquire_packet_id()
            && let Ok(publish) = publish.and_then(|it| {
                let it = it.qos(black_box(Qos::AtLeastOnce)).packet_id(id);
                it.payload(any_bytes()).build()
            })
        {
            take($client.send(Packet::from(publish)), &mut $out);
        }
    };
}

footprint::program!(Client, {
    let mut client = Client::new(black_box(Version::V5_0));
    let mut out = Vec::new();
    client.set_auto_pub_response(true);
    client.set_auto_ping_response(true);
    while black_box(true) {
        match black_box(Version::V5_0) {
            Version::V5_0 => {
                publish!(v5_0, client, out);
            }
            _ => {
                publish!(v3_1_1, client, out);
            }
        }
        take(client.recv(&mut Cursor::new(any_bytes())), &mut out);
        let timer = black_box(TimerKind::PingreqSend);
        take(client.notify_timer_fired(timer), &mut out);
        take(client.notify_closed(), &mut out);
    }
    out
});
