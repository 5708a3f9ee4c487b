//! What a packet has that nobody else is to know, where it stands.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use mqtt_codec::{
    AckProperties, Authentication, Binary, Connect, Decoder, Packet, Parsed, ProtocolVersion,
    PublishProperties, PublishTopic, Str, UserProperties,
};

use super::names::{FILLER, Names};
use crate::record::form::DECODING;

/// What stands at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A packet of so many bytes, with what its connection speaks from then on, and whether it could be read.
    Packet {
        size: usize,
        version: Option<ProtocolVersion>,
        is_read: bool,
    },
    /// The beginning of one, with so much of its fixed header. It is as it was.
    Partial { header: usize },
    /// Nothing that has a length, with so much of what stands in place of a fixed header. It is as it was.
    Broken { header: usize },
}

/// Leaves out what is to be left out of the packet at the front of `bytes`. Of one that breaks a rule nothing
/// stays but its fixed header.
pub(super) fn redact(
    bytes: &mut [u8],
    version: Option<ProtocolVersion>,
    names: &mut Names,
) -> Front {
    let mut decoder = Decoder::new(DECODING);
    let frame = match decoder.parse(bytes, version) {
        Ok(Parsed::Complete(frame)) => frame,
        Ok(Parsed::Partial { .. }) => {
            let header = header_len(bytes);
            return Front::Partial { header };
        }
        Err(_) => {
            let header = header_len(bytes);
            return Front::Broken { header };
        }
    };
    let (size, header) = (frame.size(), frame.header_len());
    let packet = match version {
        Some(version) => decoder.decode(&frame, version),
        None => decoder.decode_connect(&frame).map(Packet::Connect),
    };
    let Ok(packet) = packet else {
        fill(bytes, header..size);
        return Front::Packet {
            size,
            version,
            is_read: false,
        };
    };
    let version = match &packet {
        Packet::Connect(connect) => Some(connect.version),
        _ => version,
    };
    let mut changes = Changes {
        start: bytes.as_ptr().addr(),
        names,
        found: Vec::new(),
    };
    changes.packet(&packet);
    for (range, text) in changes.found {
        match text {
            Some(text) => {
                if let Some(place) = bytes.get_mut(range)
                    && place.len() == text.len()
                {
                    place.copy_from_slice(text.as_bytes());
                }
            }
            None => fill(bytes, range),
        }
    }
    Front::Packet {
        size,
        version,
        is_read: true,
    }
}

/// Bytes of the fixed header at the front: the first, and up to four for the length. Behind that of a CONNECT
/// also what it speaks: one that is too large is answered in that.
fn header_len(bytes: &[u8]) -> usize {
    let mut rest = bytes.iter().skip(1).take(4);
    let last = rest.position(|it| it & 0x80 == 0);
    let header = last.map_or(5, |last| last.saturating_add(2));
    let spoken = match (bytes.first(), bytes.get(header..)) {
        (Some(0x10), Some([0, 4, b'M', b'Q', b'T', b'T', 4 | 5, ..])) => 7,
        _ => 0,
    };
    header.saturating_add(spoken).min(bytes.len())
}

/// Overwrites these bytes.
pub(super) fn fill(bytes: &mut [u8], range: Range<usize>) {
    bytes.get_mut(range).unwrap_or_default().fill(FILLER);
}

/// What becomes another thing of a packet, and where it stands.
struct Changes<'n> {
    start: usize,
    names: &'n mut Names,
    found: Vec<(Range<usize>, Option<String>)>,
}

impl Changes<'_> {
    /// These bytes of the packet.
    fn place(&self, bytes: &[u8]) -> Range<usize> {
        let start = bytes.as_ptr().addr().wrapping_sub(self.start);
        start..start.saturating_add(bytes.len())
    }

    fn secret(&mut self, bytes: &[u8]) {
        self.found.push((self.place(bytes), None));
    }

    fn data(&mut self, data: Option<Binary<'_>>) {
        if let Some(data) = data {
            self.secret(data.as_bytes());
        }
    }

    fn text(&mut self, text: &str, other: String) {
        self.found.push((self.place(text.as_bytes()), Some(other)));
    }

    fn topic(&mut self, topic: &str) {
        let other = self.names.topic(topic);
        self.text(topic, other);
    }

    fn client(&mut self, name: Option<Str<'_>>) {
        if let Some(name) = name {
            let other = self.names.client(name.as_str());
            self.text(name.as_str(), other);
        }
    }

    fn words(&mut self, words: Option<Str<'_>>) {
        if let Some(words) = words {
            let other = self.names.words(words.as_str());
            self.text(words.as_str(), other);
        }
    }

    fn pairs(&mut self, pairs: &UserProperties<'_>) {
        for pair in pairs.iter() {
            self.secret(pair.name.as_str().as_bytes());
            self.secret(pair.value.as_str().as_bytes());
        }
    }

    fn ack(&mut self, properties: &AckProperties<'_>) {
        self.words(properties.reason_string);
        self.pairs(&properties.user_properties);
    }

    fn authentication(&mut self, authentication: Option<&Authentication<'_>>) {
        self.data(authentication.and_then(|it| it.data));
    }

    fn publish(&mut self, properties: &PublishProperties<'_>) {
        if let Some(topic) = properties.response_topic {
            self.topic(topic.as_str());
        }
        self.data(properties.correlation_data);
        if let Some(kind) = properties.content_type {
            self.secret(kind.as_str().as_bytes());
        }
        self.pairs(&properties.user_properties);
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        self.client(Some(connect.client_id));
        self.client(connect.user_name);
        self.data(connect.password);
        self.authentication(connect.properties.authentication.as_ref());
        self.pairs(&connect.properties.user_properties);
        if let Some(will) = &connect.will {
            self.topic(will.topic.as_str());
            self.data(Some(will.payload));
            self.publish(&PublishProperties {
                response_topic: will.properties.response_topic,
                correlation_data: will.properties.correlation_data,
                content_type: will.properties.content_type,
                user_properties: will.properties.user_properties,
                ..PublishProperties::default()
            });
        }
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => self.connect(connect),
            Packet::ConnAck(connack) => {
                let properties = &connack.properties;
                self.client(properties.assigned_client_id);
                self.words(properties.reason_string);
                self.words(properties.response_information);
                self.words(properties.server_reference);
                self.authentication(properties.authentication.as_ref());
                self.pairs(&properties.user_properties);
            }
            Packet::Publish(publish) => {
                let topic = match publish.topic {
                    PublishTopic::Name(topic) | PublishTopic::NameAndAlias(topic, _) => Some(topic),
                    PublishTopic::Alias(_) => None,
                };
                if let Some(topic) = topic {
                    self.topic(topic.as_str());
                }
                self.publish(&publish.properties);
                self.secret(publish.payload);
            }
            Packet::PubAck(ack) => self.ack(&ack.properties),
            Packet::PubRec(ack) => self.ack(&ack.properties),
            Packet::PubRel(ack) => self.ack(&ack.properties),
            Packet::PubComp(ack) => self.ack(&ack.properties),
            Packet::Subscribe(subscribe) => {
                for wanted in subscribe.filters.iter() {
                    self.topic(wanted.filter.as_str());
                }
                self.pairs(&subscribe.properties.user_properties);
            }
            Packet::SubAck(suback) => self.ack(&suback.properties),
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters.iter() {
                    self.topic(filter.as_str());
                }
                self.pairs(&unsubscribe.user_properties);
            }
            Packet::UnsubAck(unsuback) => self.ack(&unsuback.properties),
            Packet::PingReq | Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                self.words(disconnect.properties.reason_string);
                self.words(disconnect.properties.server_reference);
                self.pairs(&disconnect.properties.user_properties);
            }
            Packet::Auth(auth) => {
                self.authentication(auth.authentication.as_ref());
                self.ack(&auth.properties);
            }
        }
    }
}
