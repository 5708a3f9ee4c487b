//! A buffer of packets holds what a `Vec` of the same bytes would.

use mqtt_codec::{
    AckProperties, Auth, AuthReason, EncodeError, NotInVersion, Packet, PacketBuf, PacketId,
    ProtocolVersion, PubAck, Publish, PublishReason, TopicName,
};
use proptest::prelude::*;

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5_0;

#[derive(Clone, Debug)]
enum Step {
    /// A PUBLISH with a payload of so many bytes.
    Publish(usize),
    Head(usize),
    Acknowledge(u16),
    Ping,
    Consume(usize),
    Truncate(usize),
    Clear,
    ShrinkTo(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..400).prop_map(Step::Publish),
        1 => (0_usize..400).prop_map(Step::Head),
        3 => (1..=u16::MAX).prop_map(Step::Acknowledge),
        2 => Just(Step::Ping),
        4 => (0_usize..500).prop_map(Step::Consume),
        1 => (0_usize..1_000).prop_map(Step::Truncate),
        1 => Just(Step::Clear),
        1 => (0_usize..300).prop_map(Step::ShrinkTo),
    ]
}

proptest! {
    #[test]
    fn it_holds_what_a_vec_would(steps in proptest::collection::vec(step(), 0..60), capacity in 0_usize..100, is_within: bool) {
        let topic = TopicName::new("a/topic").unwrap();
        let (mut buf, mut model) = (PacketBuf::with_capacity(capacity), Vec::new());
        for step in steps {
            let payload;
            let packet = match step {
                Step::Publish(len) => {
                    payload = vec![0x5A; len];
                    Packet::from(Publish::new(topic, &payload))
                }
                Step::Acknowledge(id) => {
                    let id = PacketId::new(id).unwrap();
                    Packet::PubAck(PubAck::new(id, PublishReason::Success))
                }
                Step::Ping => Packet::PingReq,
                Step::Head(len) => {
                    payload = vec![0x5A; len];
                    let publish = Publish::new(topic, &payload);
                    let len = publish.encode_head_to(V5, &mut model).unwrap();
                    prop_assert_eq!(buf.push_head(&publish, V5), Ok(len));
                    continue;
                }
                Step::Consume(len) => {
                    buf.consume(len);
                    model.drain(..len.min(model.len()));
                    prop_assert_eq!(buf.as_bytes(), &*model);
                    prop_assert_eq!((buf.len(), buf.is_empty()), (model.len(), model.is_empty()));
                    continue;
                }
                Step::Truncate(len) => {
                    buf.truncate(len);
                    model.truncate(len);
                    prop_assert_eq!(buf.as_bytes(), &*model);
                    continue;
                }
                Step::Clear => {
                    let before = buf.capacity();
                    buf.clear();
                    model.clear();
                    prop_assert_eq!(buf.capacity(), before, "the room is kept");
                    continue;
                }
                Step::ShrinkTo(capacity) => {
                    buf.shrink_to(capacity);
                    prop_assert!(buf.capacity() <= capacity.max(model.len()).max(8), "{:?}", buf);
                    continue;
                }
            };
            let len = packet.encode_to(V5, &mut model).unwrap();
            let refused = EncodeError::PacketTooLarge { size: len };
            prop_assert_eq!(buf.push_within(&packet, V5, len - 1), Err(refused));
            let pushed = match is_within {
                true => buf.push_within(&packet, V5, len),
                false => buf.push(&packet, V5),
            };
            prop_assert_eq!(pushed, Ok(len));
            prop_assert!(buf.capacity() >= model.len());
            prop_assert_eq!(buf.as_bytes(), &*model);
            prop_assert_eq!((buf.len(), buf.is_empty()), (model.len(), model.is_empty()));
        }
        prop_assert_eq!(buf.as_bytes(), &*model);
    }
}

#[test]
fn a_packet_that_is_refused_leaves_everything_as_it_was() {
    let mut buf = PacketBuf::new();
    buf.push(&Packet::PingReq, V3).unwrap();
    let auth = Packet::from(Auth {
        reason: AuthReason::Success,
        authentication: None,
        properties: AckProperties::default(),
    });
    let refused = EncodeError::NotInVersion(NotInVersion::Auth);
    assert_eq!(buf.push(&auth, V3), Err(refused));
    assert_eq!(buf.as_bytes(), [0xC0, 0]);
}

#[test]
fn room_grows_in_steps_and_is_found_again_at_the_front() {
    let mut buf = PacketBuf::new();
    assert_eq!(
        buf.capacity(),
        0,
        "nothing is allocated before it is needed"
    );
    let mut capacities = vec![];
    for _ in 0..10_000 {
        buf.push(&Packet::PingResp, V5).unwrap();
        capacities.push(buf.capacity());
    }
    capacities.dedup();
    assert!(capacities.len() <= 15, "doubled, not crept: {capacities:?}");

    // What a transport takes at the front is room at the end.
    let capacity = buf.capacity();
    for _ in 0..100_000 {
        buf.push(&Packet::PingResp, V5).unwrap();
        buf.consume(2);
    }
    assert_eq!(buf.len(), 20_000);
    assert!(
        buf.capacity() <= capacity * 2,
        "at most four times what waits: {buf:?}"
    );
    assert!(
        !format!("{buf:?}").contains("208"),
        "no bytes in Debug: {buf:?}"
    );
}

#[test]
fn room_that_was_asked_for_is_enough() {
    let mut buf = PacketBuf::with_capacity(8);
    assert!(buf.is_empty());
    let before = buf.capacity();
    assert!(before >= 8);
    for _ in 0..4 {
        buf.push(&Packet::PingReq, V5).unwrap();
    }
    assert_eq!(
        (buf.len(), buf.capacity()),
        (8, before),
        "full, and not grown"
    );
    buf.push(&Packet::PingReq, V5).unwrap();
    assert!(buf.capacity() > before);
}
