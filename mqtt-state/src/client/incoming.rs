//! Messages that are shown where they are, and not kept.

use core::fmt;

use mqtt_codec::{Delivery, Message, Publish, PublishProperties, PublishTopic, QoS, TopicName};

use super::{Client, Event};
use crate::{Consumed, Timestamp};

/// A message that has come, in the bytes that it came in, from
/// [`handle_input_with`](Client::handle_input_with).
///
/// `Debug` shows the length of the payload, not the payload.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    pub(super) delivery: Delivery,
    pub(super) retain: bool,
    pub(super) topic: TopicName<'a>,
    /// Most messages have none.
    pub(super) properties: Option<&'a PublishProperties<'a>>,
    pub(super) payload: &'a [u8],
}

impl<'a> Incoming<'a> {
    /// Where to, also where the packet has an alias in place of it.
    #[must_use]
    #[inline]
    pub const fn topic(&self) -> TopicName<'a> {
        self.topic
    }

    /// What.
    #[must_use]
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// At which QoS.
    #[must_use]
    #[inline]
    pub const fn qos(&self) -> QoS {
        self.delivery.qos()
    }

    /// The RETAIN flag.
    #[must_use]
    #[inline]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// The server sent it before, perhaps in vain.
    #[must_use]
    #[inline]
    pub const fn dup(&self) -> bool {
        self.delivery.dup()
    }

    /// The properties (5.0).
    #[must_use]
    #[inline]
    pub fn properties(&self) -> PublishProperties<'a> {
        self.properties.copied().unwrap_or_default()
    }

    /// The same message with memory of its own, to be kept: as in [`Event::Message`].
    #[must_use]
    pub fn to_message(&self) -> Message {
        let publish = Publish {
            delivery: self.delivery,
            retain: self.retain,
            topic: PublishTopic::Name(self.topic),
            properties: self.properties(),
            payload: self.payload,
        };
        Message::from_publish(&publish, self.topic)
    }
}

/// What it would have been if it had not been shown: for those who treat both alike, and keep them.
impl From<Incoming<'_>> for Event {
    fn from(message: Incoming<'_>) -> Self {
        Self::Message {
            message: message.to_message(),
            dup: message.dup(),
            receipt: None,
        }
    }
}

impl fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("topic", &self.topic)
            .field("qos", &self.qos())
            .field("retain", &self.retain)
            .field("dup", &self.dup())
            .field("properties", &self.properties())
            .field("payload_len", &self.payload.len())
            .finish()
    }
}

/// Whom messages are shown to, if to anybody.
pub(super) type Show<'s> = Option<&'s mut dyn FnMut(Incoming<'_>)>;

impl Client {
    /// Like [`handle_input`](Self::handle_input), but messages are shown where they are, in `input`: they are
    /// neither copied nor queued, and nothing is allocated for them. Each is answered as its QoS asks, and is
    /// told once: either it is shown, or it is an [`Event::Message`].
    ///
    /// ```
    /// use mqtt_codec::{Connect, ProtocolVersion, Str};
    /// use mqtt_state::Timestamp;
    /// use mqtt_state::client::{Client, Config, Event};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut client = Client::new(Config::default());
    /// client.connect(now, &Connect::new(ProtocolVersion::V3_1_1, Str::new("meter-7")?))?;
    /// let mut out = Vec::new();
    /// let _connect = client.poll_transmit(now, 1024, &mut out);
    /// let _connack = client.handle_input(now, b"\x20\x02\0\0");
    /// assert!(matches!(client.poll_event(), Some(Event::Connected { .. })));
    ///
    /// // Two messages, the second one at QoS 1.
    /// let mut watts = Vec::new();
    /// let input = b"\x30\x06\0\x01w230\x32\x08\0\x01w\0\x01231";
    /// let taken = client.handle_input_with(now, input, |message| {
    ///     assert_eq!(message.topic(), "w");
    ///     watts.extend(core::str::from_utf8(message.payload()).map(str::to_owned));
    /// });
    /// assert_eq!((taken.bytes, watts), (input.len(), vec!["230".to_owned(), "231".to_owned()]));
    /// assert_eq!(client.poll_event(), None, "they have been shown");
    ///
    /// out.clear();
    /// let _puback = client.poll_transmit(now, 1024, &mut out);
    /// assert_eq!(out, b"\x40\x02\0\x01");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A message is shown only where that changes nothing of the order in which things happened: when no other event
    /// waits than [`Event::Published`] with nothing but a reason. Whoever fetches all events
    /// before each call is shown all messages, except those behind something else in the same input: behind
    /// CONNACK, SUBACK or a message that could not be shown, for instance. So `Event::Message` still has to be handled, and
    /// `Event::from` makes the same of what is shown. With
    /// [`Acknowledge::Manual`](super::Acknowledge::Manual) every message is an event.
    ///
    /// Messages that are shown count neither for [`Config::events_max`](super::Config::events_max) nor for
    /// [`Config::events_bytes_max`](super::Config::events_bytes_max): all that are in `input` come in one call.
    pub fn handle_input_with(
        &mut self,
        now: Timestamp,
        input: &[u8],
        mut on_message: impl FnMut(Incoming<'_>),
    ) -> Consumed {
        let now = self.note_input(now, input.len());
        let mut rest = input;
        loop {
            let size = match rest.first() {
                // A PUBLISH. Who uses this door gets them.
                Some(0x30..0x40) => self.show_plain_publish(now, rest, &mut on_message),
                _ => self.take_plain_acks(now, rest),
            };
            if size == 0 {
                let taken = input.len().wrapping_sub(rest.len());
                return self.take_packets(now, taken, rest, Some(&mut on_message));
            }
            rest = rest.get(size..).unwrap_or_default();
            if rest.is_empty() {
                return Consumed {
                    bytes: input.len(),
                    need: 2,
                };
            }
        }
    }
}
