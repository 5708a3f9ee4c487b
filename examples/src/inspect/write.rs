//! JSON to bytes.

use anyhow::{Context as _, bail, ensure};
use mqtt_codec::{PacketType, PropertyForm, PropertyId, ProtocolVersion};
use serde_json::{Map, Value};

use super::layout::{self, Flag, PUBLISH_FLAGS, Pass};

/// The bytes of a packet that is described as [`json`](super::json) shows it. Nothing is checked
/// that has a place in the packet: bad packets can be made, too.
pub fn bytes(packet: &Value, version: ProtocolVersion) -> anyhow::Result<Vec<u8>> {
    let object = packet.as_object().context("a packet is an object")?;
    let name = object
        .get("packet")
        .and_then(Value::as_str)
        .context("a packet has a \"packet\"")?;
    let packet_type = PacketType::ALL
        .into_iter()
        .find(|known| known.to_string() == name);
    let packet_type = packet_type.with_context(|| format!("there is no packet {name:?}"))?;
    let flags = match packet_type {
        PacketType::Publish => flags_in(object, PUBLISH_FLAGS)?,
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    let mut pass = Writing {
        object: object.clone(),
        out: Vec::new(),
    };
    layout::body(&mut pass, packet_type, flags, version)?;
    let mut bytes = vec![packet_type.value() << 4 | flags];
    var_int(pass.out.len().try_into()?, &mut bytes)?;
    bytes.extend(pass.out);
    Ok(bytes)
}

struct Writing {
    object: Map<String, Value>,
    out: Vec<u8>,
}

impl Writing {
    fn field(&self, name: &str) -> anyhow::Result<&Value> {
        self.object
            .get(name)
            .with_context(|| format!("{name:?} is missing"))
    }

    fn number(&mut self, value: &Value, len: usize) -> anyhow::Result<u32> {
        let number = match value {
            Value::Bool(flag) => u32::from(*flag),
            value => value
                .as_u64()
                .and_then(|value| value.try_into().ok())
                .with_context(|| format!("{value} is no number here"))?,
        };
        let bytes = number.to_be_bytes();
        let (high, low) = bytes.split_at_checked(4 - len).unwrap_or((&[], &bytes));
        ensure!(
            high.iter().all(|byte| *byte == 0),
            "{number} has more than {len} bytes"
        );
        self.out.extend(low);
        Ok(number)
    }

    fn counted(&mut self, value: &Value) -> anyhow::Result<()> {
        let data = data(value)?;
        let len: u16 = data
            .len()
            .try_into()
            .context("a field has at most 65535 bytes")?;
        self.out.extend(len.to_be_bytes());
        self.out.extend(data);
        Ok(())
    }

    fn property(&mut self, id: PropertyId, value: &Value) -> anyhow::Result<()> {
        self.out.push(id.value());
        match id.form() {
            PropertyForm::Byte => self.number(value, 1).map(drop),
            PropertyForm::TwoBytes => self.number(value, 2).map(drop),
            PropertyForm::FourBytes => self.number(value, 4).map(drop),
            PropertyForm::VarInt => {
                let value = value.as_u64().and_then(|value| value.try_into().ok());
                var_int(value.context("a number")?, &mut self.out)
            }
            PropertyForm::Text | PropertyForm::Binary => self.counted(value),
            PropertyForm::Pair => {
                let Some([name, value]) = value.as_array().map(Vec::as_slice) else {
                    bail!("a user property is a pair such as [\"name\", \"value\"]");
                };
                self.counted(name)?;
                self.counted(value)
            }
        }
    }
}

impl Pass for Writing {
    fn byte(&mut self, name: &str) -> anyhow::Result<u8> {
        let value = self.field(name)?.clone();
        let number = self.number(&value, 1).with_context(|| name.to_owned())?;
        Ok(number.try_into()?)
    }

    fn two_bytes(&mut self, name: &str) -> anyhow::Result<()> {
        let value = self.field(name)?.clone();
        self.number(&value, 2).with_context(|| name.to_owned())?;
        Ok(())
    }

    fn text(&mut self, name: &str) -> anyhow::Result<()> {
        let value = self.field(name)?.clone();
        self.counted(&value).with_context(|| name.to_owned())
    }

    fn data(&mut self, name: &str) -> anyhow::Result<()> {
        self.text(name)
    }

    fn flags(&mut self, name: &str, flags: &[Flag]) -> anyhow::Result<u8> {
        let object = self.field(name)?.as_object();
        let byte = flags_in(
            object.with_context(|| format!("{name:?} is an object"))?,
            flags,
        )?;
        self.out.push(byte);
        Ok(byte)
    }

    fn rest(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(value) = self.object.get(name) {
            let data = data(value).with_context(|| name.to_owned())?;
            self.out.extend(data);
        }
        Ok(())
    }

    fn properties(&mut self, name: &str) -> anyhow::Result<()> {
        let mut block = Self {
            object: Map::new(),
            out: Vec::new(),
        };
        let none = Map::new();
        let object = match self.object.get(name) {
            None => &none,
            Some(value) => value
                .as_object()
                .with_context(|| format!("{name:?} is an object"))?,
        };
        for (key, value) in object {
            let id = PropertyId::ALL
                .iter()
                .find(|id| layout::property_name(**id) == *key);
            let id = *id.with_context(|| format!("there is no property {key:?}"))?;
            let repeated = matches!(
                id,
                PropertyId::UserProperty | PropertyId::SubscriptionIdentifier
            );
            let values = match value {
                Value::Array(values) if repeated => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                block.property(id, value).with_context(|| key.clone())?;
            }
        }
        var_int(block.out.len().try_into()?, &mut self.out)?;
        self.out.extend(block.out);
        Ok(())
    }

    fn has(&mut self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    fn list(
        &mut self,
        name: &str,
        item: &mut dyn FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let items = self.field(name)?.as_array().cloned();
        let items = items.with_context(|| format!("{name:?} is a list"))?;
        let outside = std::mem::take(&mut self.object);
        for value in items {
            self.object = match value {
                Value::Object(object) if !object.contains_key("hex") => object,
                // What has one field is that field; which one, the layout knows.
                value => ["topic_filter", "reason_code"]
                    .into_iter()
                    .map(|name| (name.to_owned(), value.clone()))
                    .collect(),
            };
            item(self)?;
        }
        self.object = outside;
        Ok(())
    }
}

fn flags_in(object: &Map<String, Value>, flags: &[Flag]) -> anyhow::Result<u8> {
    let mut byte = 0;
    for &Flag(name, low, bits) in flags {
        let value = match object.get(name) {
            None | Some(Value::Bool(false)) => 0,
            Some(Value::Bool(true)) => 1,
            Some(value) => value
                .as_u64()
                .with_context(|| format!("{name:?} is a number"))?,
        };
        ensure!(value < 1 << bits, "{name:?} is at most {}", (1 << bits) - 1);
        byte |= u8::try_from(value)? << low;
    }
    Ok(byte)
}

fn var_int(mut value: u32, out: &mut Vec<u8>) -> anyhow::Result<()> {
    ensure!(value <= 268_435_455, "{value} is more than 268435455");
    loop {
        let byte = u8::try_from(value & 0x7F)?;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return Ok(());
        }
        out.push(byte | 0x80);
    }
}

/// A text, or `{"hex": "..."}`.
fn data(value: &Value) -> anyhow::Result<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let hex = value.get("hex").and_then(Value::as_str);
    super::from_hex(hex.context("a text, or {\"hex\": \"...\"}")?)
}
