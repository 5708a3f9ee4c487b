//! The lists and the properties of whatever was decoded.

#![no_std]
#![no_main]

use mqtt_codec::{Packet, Parsed, ProtocolVersion, decode};

no_panic::program!({
    let decoded = decode(no_panic::any_bytes(), ProtocolVersion::V5_0, u32::MAX);
    if let Ok(Parsed::Complete((packet, _))) = decoded {
        match packet {
            Packet::Publish(publish) => {
                for property in publish.properties.user_properties {
                    core::hint::black_box(property);
                }
                for id in publish.properties.subscription_ids {
                    core::hint::black_box(id);
                }
            }
            Packet::Subscribe(subscribe) => {
                for entry in subscribe.filters {
                    core::hint::black_box(entry);
                }
            }
            Packet::SubAck(suback) => {
                for reason in suback.reasons {
                    core::hint::black_box(reason);
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in unsubscribe.filters {
                    core::hint::black_box(filter.as_str());
                }
            }
            Packet::UnsubAck(unsuback) => {
                for reason in unsuback.reasons {
                    core::hint::black_box(reason);
                }
            }
            Packet::Connect(connect) => {
                core::hint::black_box(connect.client_id.as_str());
                for property in connect.properties.user_properties {
                    core::hint::black_box((property.name.as_str(), property.value.as_str()));
                }
            }
            _ => {}
        }
    }
});
