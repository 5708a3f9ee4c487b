//! Packets read in one go, payloads in pieces, and what a fault says.

#![no_std]
#![no_main]

use mqtt_codec::{
    DecodeConfig, Decoder, Parsed, Phase, PlainAck, ProtocolVersion, PublishStart, Strictness,
};

no_panic::program!({
    let mut config = DecodeConfig::default();
    config.strictness = core::hint::black_box(Strictness::LENIENT);
    config.limits = core::hint::black_box(config.limits);
    let mut decoder = Decoder::new(config);
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        let _publish = core::hint::black_box(decoder.plain_publish(no_panic::any_bytes(), version));
        let start = PublishStart::parse(no_panic::any_bytes(), version, 100, &config);
        if let Ok(Parsed::Complete(start)) = start {
            let mut payload = start.payload();
            let _piece = core::hint::black_box(payload.take(no_panic::any_bytes()));
            let _left = core::hint::black_box(payload.left());
        }
        let Ok(Parsed::Complete(frame)) = decoder.parse(no_panic::any_bytes(), Some(version))
        else {
            continue;
        };
        if let Err(error) = decoder.decode(&frame, version) {
            let _statement = core::hint::black_box(error.statement());
            let _text = core::hint::black_box(error.text_in(&frame));
            for phase in [Phase::AwaitConnect, Phase::AwaitConnAck, Phase::Connected] {
                let _reply = core::hint::black_box(error.reply(Some(version), phase));
            }
        }
        for tolerated in decoder.tolerated() {
            core::hint::black_box(tolerated);
        }
    }
    if let Some((ack, _behind)) = PlainAck::split(no_panic::any_bytes()) {
        core::hint::black_box(ack.to_bytes());
    }
});
