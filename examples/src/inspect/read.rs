//! Bytes to JSON, and to a list of parts with their places.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context as _, bail};
use mqtt_codec::{Delivery, Frame, Message, Parsed, PropertyForm, PropertyId, ProtocolVersion};
use serde_json::{Map, Value, json};

use super::layout::{self, Flag, PUBLISH_FLAGS, Pass};

/// Some bytes of a packet, and what they mean.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where, from the first byte of the packet.
    pub place: Range<usize>,
    /// What the standard calls it.
    pub name: String,
    /// What it says.
    pub value: Value,
}

/// A packet that the codec has accepted, as one JSON object.
pub fn json(bytes: &[u8], frame: &Frame<'_>, version: ProtocolVersion) -> anyhow::Result<Value> {
    Ok(Value::Object(read(bytes, frame, version)?.0))
}

/// A message as one JSON object, with the names that a PUBLISH has, and without what is its packet's.
pub fn message(message: &Message) -> anyhow::Result<Value> {
    let (version, mut bytes) = (ProtocolVersion::V5_0, Vec::new());
    let publish = message.publish(Delivery::AtMostOnce);
    publish.encode_to(version, &mut bytes)?;
    let Parsed::Complete(frame) = Frame::parse(&bytes, Some(version), u32::MAX)? else {
        bail!("a packet that is not whole");
    };
    let mut object = read(&bytes, &frame, version)?.0;
    object.retain(|name, _| !matches!(name.as_str(), "packet" | "dup"));
    object.insert("qos".to_owned(), u8::from(message.qos()).into());
    Ok(Value::Object(object))
}

/// A packet that the codec has accepted, as lines that say what each byte means.
pub fn dump(bytes: &[u8], frame: &Frame<'_>, version: ProtocolVersion) -> anyhow::Result<String> {
    let mut text = format!("{}, {} bytes\n", frame.packet_type(), frame.size());
    for part in read(bytes, frame, version)?.1 {
        let part_bytes = bytes.get(part.place.clone()).unwrap_or_default();
        let shown: Vec<_> = part_bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let more = if part_bytes.len() > 8 { " .." } else { "" };
        writeln!(
            text,
            "  {:>6}  {:<27}  {}: {}",
            part.place.start,
            shown.join(" ") + more,
            part.name.replace('_', " "),
            part.value
        )?;
    }
    Ok(text)
}

fn read(
    bytes: &[u8],
    frame: &Frame<'_>,
    version: ProtocolVersion,
) -> anyhow::Result<(Map<String, Value>, Vec<Part>)> {
    let packet_type = frame.packet_type();
    let mut pass = Reading {
        rest: frame.body(),
        place: frame.header_len(),
        object: Map::new(),
        parts: Vec::new(),
    };
    pass.object
        .insert("packet".into(), packet_type.to_string().into());
    let first = bytes.first().copied().unwrap_or_default();
    pass.note(0..1, "packet type", packet_type.to_string().into());
    if packet_type == mqtt_codec::PacketType::Publish {
        let flags = flags_of(first, PUBLISH_FLAGS);
        pass.note(0..1, "flags", flags.clone().into());
        pass.object.extend(flags);
    }
    pass.note(
        1..frame.header_len(),
        "remaining length",
        frame.body().len().into(),
    );
    layout::body(&mut pass, packet_type, frame.flags(), version)?;
    Ok((pass.object, pass.parts))
}

struct Reading<'a> {
    rest: &'a [u8],
    /// Of the first byte of `rest`.
    place: usize,
    object: Map<String, Value>,
    parts: Vec<Part>,
}

impl<'a> Reading<'a> {
    fn take(&mut self, len: usize) -> anyhow::Result<(Range<usize>, &'a [u8])> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .context("the packet ends too early")?;
        let place = self.place..self.place + len;
        (self.rest, self.place) = (rest, place.end);
        Ok((place, taken))
    }

    fn number(&mut self, len: usize) -> anyhow::Result<(Range<usize>, u32)> {
        let (place, bytes) = self.take(len)?;
        let number = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte));
        Ok((place, number))
    }

    fn var_int(&mut self) -> anyhow::Result<(Range<usize>, u32)> {
        let (start, mut value, mut shift) = (self.place, 0, 0);
        loop {
            let (place, byte) = self.number(1)?;
            value |= (byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok((start..place.end, value));
            }
        }
    }

    /// Bytes with their length in front.
    fn counted(&mut self) -> anyhow::Result<(Range<usize>, &'a [u8])> {
        let start = self.place;
        let (_, len) = self.number(2)?;
        let (place, bytes) = self.take(len.try_into()?)?;
        Ok((start..place.end, bytes))
    }

    fn note(&mut self, place: Range<usize>, name: &str, value: Value) {
        self.parts.push(Part {
            place,
            name: name.to_owned(),
            value,
        });
    }

    fn field(&mut self, place: Range<usize>, name: &str, value: Value) {
        self.note(place, name, value.clone());
        self.object.insert(name.to_owned(), value);
    }

    fn property(&mut self, id: PropertyId) -> anyhow::Result<(Range<usize>, Value)> {
        Ok(match id.form() {
            PropertyForm::Byte => self.number(1).map(|(place, value)| (place, value.into()))?,
            PropertyForm::TwoBytes => self.number(2).map(|(place, value)| (place, value.into()))?,
            PropertyForm::FourBytes => {
                self.number(4).map(|(place, value)| (place, value.into()))?
            }
            PropertyForm::VarInt => self.var_int().map(|(place, value)| (place, value.into()))?,
            PropertyForm::Text | PropertyForm::Binary => {
                self.counted().map(|(place, bytes)| (place, data(bytes)))?
            }
            PropertyForm::Pair => {
                let (name_at, name) = self.counted()?;
                let (value_at, value) = self.counted()?;
                (
                    name_at.start..value_at.end,
                    json!([data(name), data(value)]),
                )
            }
        })
    }
}

impl Pass for Reading<'_> {
    fn byte(&mut self, name: &str) -> anyhow::Result<u8> {
        let (place, value) = self.number(1)?;
        self.field(place, name, value.into());
        Ok(value.try_into()?)
    }

    fn two_bytes(&mut self, name: &str) -> anyhow::Result<()> {
        let (place, value) = self.number(2)?;
        self.field(place, name, value.into());
        Ok(())
    }

    fn text(&mut self, name: &str) -> anyhow::Result<()> {
        let (place, bytes) = self.counted()?;
        self.field(place, name, data(bytes));
        Ok(())
    }

    fn data(&mut self, name: &str) -> anyhow::Result<()> {
        self.text(name)
    }

    fn flags(&mut self, name: &str, flags: &[Flag]) -> anyhow::Result<u8> {
        let (place, value) = self.number(1)?;
        let value = value.try_into()?;
        self.field(place, name, flags_of(value, flags).into());
        Ok(value)
    }

    fn rest(&mut self, name: &str) -> anyhow::Result<()> {
        let (place, bytes) = self.take(self.rest.len())?;
        self.field(place, name, data(bytes));
        Ok(())
    }

    fn properties(&mut self, name: &str) -> anyhow::Result<()> {
        let (place, len) = self.var_int()?;
        self.note(place.clone(), "property length", len.into());
        let end = place.end + usize::try_from(len)?;
        let mut object = Map::new();
        while self.place < end {
            let start = self.place;
            let (_, id) = self.number(1)?;
            let id = PropertyId::from_value(id.try_into()?).context("a property that is none")?;
            let (place, value) = self.property(id)?;
            self.note(start..place.end, &id.to_string(), value.clone());
            let key = layout::property_name(id);
            if id == PropertyId::UserProperty || id == PropertyId::SubscriptionIdentifier {
                let list = object.entry(key).or_insert_with(|| json!([]));
                list.as_array_mut().context("a list")?.push(value);
            } else {
                object.insert(key, value);
            }
        }
        self.object.insert(name.to_owned(), object.into());
        Ok(())
    }

    fn has(&mut self, _name: &str) -> bool {
        !self.rest.is_empty()
    }

    fn list(
        &mut self,
        name: &str,
        item: &mut dyn FnMut(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let outside = std::mem::take(&mut self.object);
        let mut items = Vec::new();
        while !self.rest.is_empty() {
            item(self)?;
            let object = std::mem::take(&mut self.object);
            // What has one field is that field.
            items.push(match object.len() {
                1 => object
                    .into_iter()
                    .next()
                    .map_or(Value::Null, |(_, value)| value),
                _ => object.into(),
            });
        }
        self.object = outside;
        self.object.insert(name.to_owned(), items.into());
        Ok(())
    }
}

fn flags_of(byte: u8, flags: &[Flag]) -> Map<String, Value> {
    let value = |&Flag(name, low, bits): &Flag| {
        let value = byte >> low & ((1 << bits) - 1);
        let value = if bits == 1 {
            Value::Bool(value == 1)
        } else {
            value.into()
        };
        (name.to_owned(), value)
    };
    flags.iter().map(value).collect()
}

/// Text as it is, and everything else as `{"hex": "..."}`.
fn data(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.into(),
        _ => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}
