//! A client that does all that a client can, but for its journal.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::hint::black_box;

use footprint::{any_message, any_time, turn};
use mqtt_codec::{
    AckProperties, Connect, DisconnectReason, ProtocolVersion, PublishReason, QoS, Str,
    SubscribeFilter, TopicFilter,
};
use mqtt_state::client::{Client, Config, Event};

fn command(client: &mut Client) {
    if let Some(message) = any_message() {
        let _token = black_box(client.publish(any_time(), message));
    }
    if let Ok(filter) = SubscribeFilter::new("site/+/light", black_box(QoS::ExactlyOnce)) {
        let _token = black_box(client.subscribe(&[filter]));
    }
    if let Ok(filter) = TopicFilter::new("site/+/light") {
        let _token = black_box(client.unsubscribe(&[filter]));
    }
    let _tokens = black_box(client.resubscribe());
    let _refused = client.reauthenticate(any_time(), None);
    let _refused = client.authenticate(any_time(), None);
    let _refused = client.disconnect(any_time(), DisconnectReason::NormalDisconnection);
}

footprint::program!(Client, {
    let mut client = Client::new(Config::default());
    let mut out = Vec::new();
    while black_box(true) {
        if let Ok(client_id) = Str::new("client-7") {
            let connect = Connect::new(black_box(ProtocolVersion::V5_0), client_id);
            let _refused = client.connect(any_time(), &connect);
        }
        while let Some(event) = client.poll_event() {
            if let Event::Message {
                receipt: Some(receipt),
                ..
            } = event
            {
                if black_box(true) {
                    let _refused = client.ack(any_time(), receipt);
                } else {
                    let _refused = client.reject(
                        any_time(),
                        receipt,
                        PublishReason::QuotaExceeded,
                        AckProperties::default(),
                    );
                }
            }
        }
        command(&mut client);
        turn(&mut client, &mut out);
    }
    out
});
