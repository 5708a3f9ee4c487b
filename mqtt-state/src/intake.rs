//! The way in, the same for all machines: whole packets off the front of what has arrived.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_codec::{Frame, Message, Publish};

use crate::Consumed;
use crate::link::Topic;

/// A machine, as the owner of one connection's input.
pub(crate) trait Intake {
    /// The short way for what most packets are: takes plain ones off the front of `input`, and answers
    /// how many bytes they were. Whatever has to be parsed and decoded to be known stays.
    fn take_plain(&mut self, _input: &[u8]) -> usize {
        0
    }

    /// Looks at the front of the input.
    fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p>;

    /// Takes the packet that [`next_frame`](Self::next_frame) found.
    fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>);
}

/// What is at the front of the input.
#[derive(Debug)]
pub(crate) enum Step<'p> {
    Frame(Frame<'p>),
    /// So many bytes are missing; 0 when nothing is taken now.
    Need(usize),
    /// The connection is over; whatever comes is thrown away.
    Ignore,
}

/// Where the bytes of a packet are, so that a message can share them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// In a slice of the caller's: what is kept has to be copied.
    Borrowed,
    /// In a frame of its own that may be shared.
    Shared(&'a Bytes),
}

impl Origin<'_> {
    /// The owned form of a received PUBLISH.
    pub(crate) fn message(self, publish: &Publish<'_>, topic: &Topic<'_>) -> Message {
        let name = topic.name();
        match (self, topic) {
            (Self::Shared(frame), Topic::Aliased(topic)) => {
                Message::from_frame_with_topic(frame, publish, topic)
            }
            (Self::Shared(frame), Topic::Named(name)) => Message::from_frame(frame, publish, *name),
            (Self::Borrowed, _) => Message::from_publish(publish, name),
        }
    }

    /// The same, with memory that may be used for what is copied.
    #[inline]
    pub(crate) fn message_in(
        self,
        memory: Option<BytesMut>,
        publish: &Publish<'_>,
        topic: &Topic<'_>,
    ) -> Message {
        match self {
            Self::Shared(_) => self.message(publish, topic),
            Self::Borrowed => {
                Message::from_publish_in(memory.unwrap_or_default(), publish, topic.name())
            }
        }
    }
}

/// What one connection has shown of its input.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InputSeen {
    /// Of its largest read buffer: as much memory may stand behind any part of it that is split off.
    capacity: u32,
    /// Bytes that were not taken, and are offered again.
    left: u32,
}

impl InputSeen {
    /// The buffer that input is in.
    pub(crate) fn note_buffer(&mut self, input: &BytesMut) {
        self.capacity = self.capacity.max(narrow(input.capacity()));
    }

    /// Input is offered, of so many bytes. Answers whether some of them were not there before.
    #[inline]
    pub(crate) fn note_offered(&mut self, len: usize) -> bool {
        narrow(len) > core::mem::take(&mut self.left)
    }

    /// So much of it is left, as far as this call has come.
    #[inline]
    pub(crate) fn note_left(&mut self, len: usize) {
        self.left = narrow(len);
    }

    /// A packet that is less than half of its buffer is copied when kept, so that it never pins
    /// more than twice its size.
    pub(crate) fn may_share(self, size: usize) -> bool {
        narrow(size.saturating_mul(2)) >= self.capacity
    }
}

/// There is one of these for each connection, and no packet has four billion bytes.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Takes whole packets from the front of `input`.
// [5:MQTT-6.0.0-2] [3:MQTT-6.0.0-2] However they are cut and joined on their way.
#[inline(always)]
pub(crate) fn take(intake: &mut impl Intake, input: &[u8]) -> Consumed {
    // Mostly that is all.
    let bytes = intake.take_plain(input);
    if bytes > 0 && bytes == input.len() {
        return Consumed { bytes, need: 2 };
    }
    take_others(intake, input, bytes)
}

/// Takes what is not plain, and whatever is behind it. So many bytes have been taken.
#[inline(never)]
fn take_others(intake: &mut impl Intake, input: &[u8], mut bytes: usize) -> Consumed {
    loop {
        let rest = input.get(bytes..).unwrap_or_default();
        match intake.next_frame(rest) {
            Step::Frame(frame) => {
                intake.handle_frame(&frame, Origin::Borrowed);
                bytes = bytes.saturating_add(frame.size());
                let rest = input.get(bytes..).unwrap_or_default();
                let plain = intake.take_plain(rest);
                bytes = bytes.saturating_add(plain);
                if plain > 0 && bytes == input.len() {
                    return Consumed { bytes, need: 2 };
                }
            }
            Step::Need(need) => return Consumed { bytes, need },
            Step::Ignore => {
                return Consumed {
                    bytes: input.len(),
                    need: 0,
                };
            }
        }
    }
}

/// Takes whole packets out of `input`; what is kept of a large one shares its memory.
pub(crate) fn take_shared(
    intake: &mut impl Intake,
    seen: InputSeen,
    input: &mut BytesMut,
) -> Consumed {
    let mut bytes = 0_usize;
    loop {
        if !seen.may_share(input.len()) {
            let plain = intake.take_plain(input);
            input.advance(plain);
            bytes = bytes.saturating_add(plain);
            if input.is_empty() && plain > 0 {
                return Consumed { bytes, need: 2 };
            }
        }
        let size = match intake.next_frame(input) {
            Step::Frame(frame) if seen.may_share(frame.size()) => frame.size(),
            Step::Frame(frame) => {
                let size = frame.size();
                intake.handle_frame(&frame, Origin::Borrowed);
                input.advance(size);
                bytes = bytes.saturating_add(size);
                continue;
            }
            Step::Need(need) => return Consumed { bytes, need },
            Step::Ignore => {
                bytes = bytes.saturating_add(input.len());
                input.clear();
                return Consumed { bytes, need: 0 };
            }
        };
        let shared = input.split_to(size).freeze();
        // The same bytes again, in the place where they can stay.
        if let Step::Frame(frame) = intake.next_frame(&shared) {
            intake.handle_frame(&frame, Origin::Shared(&shared));
        }
        bytes = bytes.saturating_add(size);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use mqtt_codec::{Parsed, ProtocolVersion};

    use super::*;

    /// Notes which packets it got and whether their memory may be shared.
    #[derive(Default)]
    struct Notes {
        sizes: Vec<(usize, bool)>,
        packets_max: usize,
        /// Bytes that may have gone the short way, on which nothing is shared.
        plain: Vec<usize>,
    }

    impl Intake for Notes {
        fn take_plain(&mut self, input: &[u8]) -> usize {
            self.plain.push(input.len());
            0
        }

        fn next_frame<'p>(&mut self, input: &'p [u8]) -> Step<'p> {
            if self.sizes.len() == self.packets_max {
                return Step::Need(0);
            }
            match Frame::parse(input, Some(ProtocolVersion::V3_1_1), 1000) {
                Ok(Parsed::Complete(frame)) => Step::Frame(frame),
                Ok(Parsed::Partial { needed }) => Step::Need(needed),
                Err(_) => Step::Ignore,
            }
        }

        fn handle_frame(&mut self, frame: &Frame<'_>, origin: Origin<'_>) {
            let shared = matches!(origin, Origin::Shared(_));
            self.sizes.push((frame.size(), shared));
        }
    }

    fn notes(packets_max: usize) -> Notes {
        Notes {
            packets_max,
            ..Notes::default()
        }
    }

    /// A PUBLISH at QoS 0 of `size` bytes in all, at most 129.
    fn publish(size: u8) -> Vec<u8> {
        let mut bytes = Vec::from([0x30, size.saturating_sub(2), 0, 1, b't']);
        bytes.resize(size.into(), b'x');
        bytes
    }

    #[test]
    fn both_doors_take_the_same() {
        let input = [publish(10), publish(60), publish(20)[..15].to_vec()].concat();
        let rows = [
            ("all", 9, 2, Consumed { bytes: 70, need: 5 }),
            ("stopped", 1, 1, Consumed { bytes: 10, need: 0 }),
        ];
        for (row, packets_max, taken, expected) in rows {
            let mut borrowing = notes(packets_max);
            assert_eq!(take(&mut borrowing, &input), expected, "{row}");
            let mut sharing = notes(packets_max);
            let mut buffer = BytesMut::from(&*input);
            let mut seen = InputSeen::default();
            seen.note_buffer(&buffer);
            let consumed = take_shared(&mut sharing, seen, &mut buffer);
            assert_eq!(consumed, expected, "{row}");
            assert_eq!(buffer, input[expected.bytes..], "{row}: the rest stays");
            assert_eq!(borrowing.sizes.len(), taken, "{row}");
        }
    }

    #[test]
    fn after_the_end_everything_is_thrown_away() {
        let input = [publish(10), Vec::from([0x00, 0x00, 0x00])].concat();
        let all = Consumed { bytes: 13, need: 0 };
        assert_eq!(take(&mut notes(9), &input), all);
        let mut buffer = BytesMut::from(&*input);
        let consumed = take_shared(&mut notes(9), InputSeen::default(), &mut buffer);
        assert_eq!(consumed, all);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_small_packet_never_pins_a_large_buffer() {
        let mut buffer = BytesMut::with_capacity(150);
        let mut seen = InputSeen::default();
        let mut notes = notes(9);
        // The first call shows the whole buffer; later ones only what is left of it.
        for size in [120, 30] {
            buffer.extend_from_slice(&publish(size));
            seen.note_buffer(&buffer);
            let _consumed = take_shared(&mut notes, seen, &mut buffer);
        }
        assert_eq!(notes.sizes, [(120, true), (30, false)]);
        assert!(!notes.plain.contains(&120), "what is large may be shared");
        assert!(
            notes.plain.contains(&30),
            "what is small goes the short way"
        );
    }
}
