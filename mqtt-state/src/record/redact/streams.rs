//! What came over connections: packets that may stand in several calls.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use mqtt_codec::ProtocolVersion;

use super::names::Names;
use super::packet::{self, Front};
use crate::broker::ConnectionId;
use crate::record::form::Unfit;
use crate::record::{Input, form::Hex};

/// The bytes of all calls that offered some, with what is to be left out left out.
#[derive(Default)]
pub(super) struct Streams {
    streams: BTreeMap<u32, Stream>,
    /// Of each such call, in their order.
    calls: Vec<Vec<u8>>,
    /// What a client said it speaks.
    version: Option<ProtocolVersion>,
    /// Packets that broke a rule.
    pub(super) unread: usize,
}

#[derive(Default)]
struct Stream {
    of: Option<ConnectionId>,
    version: Option<ProtocolVersion>,
    /// What the last call offered; what has not been seen to is as it was.
    offered: Vec<u8>,
    /// Where that stands: in which call, from where on, how much.
    places: Vec<(usize, usize, usize)>,
    /// So much of it has been seen to.
    done: usize,
    /// Nothing that comes has a length any more.
    is_broken: bool,
}

impl Streams {
    /// A client begins a connection.
    pub(super) fn begin(&mut self, version: ProtocolVersion) {
        self.version = Some(version);
        self.streams.clear();
    }

    /// The next call that offers bytes.
    pub(super) fn offer(&mut self, input: Input, names: &mut Names) -> Result<(), Unfit> {
        let Input {
            connection,
            kept,
            bytes: Hex(bytes),
            ..
        } = input;
        let slot = connection.map_or(0, ConnectionId::place);
        let stream = self.streams.entry(slot).or_default();
        if stream.of != connection || stream.version.is_none() {
            let version = stream.version.filter(|_| stream.of == connection);
            stream.version = version.or(self.version);
        }
        if stream.of != connection {
            *stream = Stream {
                of: connection,
                version: self.version,
                ..Stream::default()
            };
        }
        let call = self.calls.len();
        stream.keep(kept)?;
        stream.places.push((call, 0, bytes.len()));
        stream.offered.extend_from_slice(&bytes);
        self.calls.push(bytes);
        while let Some(rest) = stream.offered.get_mut(stream.done..)
            && !rest.is_empty()
        {
            let front = match stream.is_broken {
                true => Front::Broken { header: 0 },
                false => packet::redact(rest, stream.version, names),
            };
            let end = match front {
                Front::Packet { size, .. } => stream.done.saturating_add(size),
                // It is seen to again when there is more of it, as it was.
                Front::Partial { header } => {
                    let from = stream.done.saturating_add(header);
                    stream.hide(from, call, &mut self.calls);
                    break;
                }
                Front::Broken { header } => {
                    let end = rest.len();
                    packet::fill(rest, header..end);
                    stream.offered.len()
                }
            };
            stream.write(stream.done..end, &mut self.calls);
            stream.done = end;
            match front {
                Front::Packet {
                    version, is_read, ..
                } => {
                    stream.version = version;
                    self.unread = self.unread.saturating_add(usize::from(!is_read));
                }
                Front::Partial { .. } => {}
                Front::Broken { .. } => {
                    let is_first = !stream.is_broken;
                    self.unread = self.unread.saturating_add(usize::from(is_first));
                    stream.is_broken = true;
                }
            }
        }
        Ok(())
    }

    /// The bytes of the calls, in their order.
    pub(super) fn into_calls(self) -> impl Iterator<Item = Vec<u8>> {
        self.calls.into_iter()
    }
}

impl Stream {
    /// Lets go of all but the last so many bytes.
    fn keep(&mut self, kept: usize) -> Result<(), Unfit> {
        let cut = self.offered.len().checked_sub(kept);
        let cut = cut.ok_or(Unfit("so many bytes were not kept"))?;
        self.offered.drain(..cut);
        self.done = self.done.saturating_sub(cut);
        let mut rest = cut;
        self.places.retain_mut(|(_, start, len)| {
            let gone = rest.min(*len);
            rest = rest.saturating_sub(gone);
            *start = start.saturating_add(gone);
            *len = len.saturating_sub(gone);
            *len > 0
        });
        Ok(())
    }

    /// Overwrites what the last call has behind this place.
    fn hide(&self, from: usize, call: usize, calls: &mut [Vec<u8>]) {
        let Some(bytes) = calls.get_mut(call) else {
            return;
        };
        let before = self.offered.len().saturating_sub(bytes.len());
        let end = bytes.len();
        packet::fill(bytes, from.saturating_sub(before)..end);
    }

    /// Puts these bytes into the calls that they came in.
    fn write(&self, range: Range<usize>, calls: &mut [Vec<u8>]) {
        let mut skip = range.start;
        let mut bytes = self.offered.get(range).unwrap_or_default();
        for (call, start, len) in &self.places {
            let skipped = skip.min(*len);
            skip = skip.saturating_sub(skipped);
            let here = len.saturating_sub(skipped).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(here).unwrap_or_default();
            bytes = rest;
            let start = start.saturating_add(skipped);
            let place = calls.get_mut(*call);
            let place = place.and_then(|it| it.get_mut(start..start.saturating_add(here)));
            if let Some(place) = place {
                place.copy_from_slice(now);
            }
        }
    }
}
