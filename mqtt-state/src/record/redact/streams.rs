//! What came over connections: packets that may stand in several calls.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

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
    /// What the last call offered, as it was.
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
        loop {
            let rest = stream.offered.get(stream.done..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let mut rest = rest.to_vec();
            let front = match stream.is_broken {
                true => {
                    let len = rest.len();
                    packet::fill(&mut rest, 0..len);
                    Front::Broken
                }
                false => packet::redact(&mut rest, stream.version, names),
            };
            let size = match front {
                Front::Packet { size, .. } => size,
                Front::Partial | Front::Broken => rest.len(),
            };
            let written = rest.get(..size).unwrap_or_default();
            stream.write(stream.done, written, &mut self.calls);
            match front {
                Front::Packet {
                    version, is_read, ..
                } => {
                    stream.version = version;
                    stream.done = stream.done.saturating_add(size);
                    self.unread = self.unread.saturating_add(usize::from(!is_read));
                }
                // It is seen to again when there is more of it.
                Front::Partial => break,
                Front::Broken => {
                    let unread = usize::from(!stream.is_broken);
                    self.unread = self.unread.saturating_add(unread);
                    stream.is_broken = true;
                    stream.done = stream.offered.len();
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

    /// Puts these bytes where those from `at` on stand.
    fn write(&self, at: usize, mut bytes: &[u8], calls: &mut [Vec<u8>]) {
        let mut skip = at;
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
