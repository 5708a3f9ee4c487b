//! This crate.

use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, Str};
use mqtt_state::Timestamp;
use mqtt_state::client::{Client, Config, Event};

use super::{Machine, PAYLOAD, TOPIC, connack};

const NOW: Timestamp = Timestamp::ZERO;
const MAX_BYTES: usize = 16 * 1024;

pub(super) struct Ours {
    client: Client,
    message: Message,
    output: Vec<u8>,
}

impl Ours {
    pub(super) fn new(version: ProtocolVersion, qos: QoS) -> Self {
        let mut client = Client::new(Config::default());
        let client_id = Str::new("c").expect("a short text");
        let connect = Connect::new(version, client_id);
        client.connect(NOW, &connect).expect("nothing is connected");
        let mut output = Vec::new();
        let _idle = client.poll_transmit(NOW, MAX_BYTES, &mut output);
        let _all = client.handle_input(NOW, connack(version));
        output.clear();
        while client.poll_event().is_some() {}
        Self {
            client,
            message: Message::from_slice(TOPIC, &PAYLOAD)
                .expect("a valid topic")
                .with_qos(qos),
            output,
        }
    }
}

impl Machine for Ours {
    fn publish(&mut self) {
        let (client, message) = (&mut self.client, &self.message);
        let taken = client.publish_into(NOW, message, MAX_BYTES, &mut self.output);
        let (_token, _idle) = taken.expect("there is room");
    }

    fn input(&mut self, bytes: &[u8]) {
        let _all = self.client.handle_input(NOW, bytes);
        let _idle = self.client.poll_transmit(NOW, MAX_BYTES, &mut self.output);
    }

    fn output(&self) -> &[u8] {
        &self.output
    }

    fn clear_output(&mut self) {
        self.output.clear();
    }

    fn completed(&mut self) -> usize {
        let mut completed = 0;
        while let Some(event) = self.client.poll_event() {
            completed += usize::from(matches!(event, Event::Published { .. }));
        }
        completed
    }
}
