//! What has to become of every will.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::watch::Broken;
use crate::Timestamp;

/// What has to become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its connection is open.
    Armed,
    /// To be published then, unless its client is back before.
    Due(Timestamp),
    Published,
    /// Never to be published.
    Cancelled,
    /// A crash has left it open; at most once all the same.
    Perhaps,
}

#[derive(Clone, Debug)]
struct Will {
    client: usize,
    line: u64,
    /// The broker at which it was left.
    at: usize,
    topic: String,
    delay_secs: u32,
    expiry_secs: u32,
    fate: Fate,
    is_stored: bool,
}

/// All wills that were ever left.
#[derive(Clone, Debug, Default)]
pub(super) struct Wills {
    all: Vec<Will>,
    /// Published before their time, for a reason that has to follow at once.
    early: BTreeSet<usize>,
}

impl Wills {
    pub(super) fn leave(
        &mut self,
        client: usize,
        (line, at): (u64, usize),
        topic: String,
        delay_secs: u32,
        expiry_secs: u32,
    ) {
        self.all.push(Will {
            client,
            line,
            at,
            topic,
            delay_secs,
            expiry_secs,
            fate: Fate::Armed,
            is_stored: false,
        });
    }

    /// A client is connected: a will of before that was not due is not published.
    // [5:MQTT-3.1.3-9]
    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        client: usize,
        present: bool,
    ) -> Result<(), Broken> {
        for will in self.all.iter_mut().filter(|will| will.client == client) {
            match will.fate {
                Fate::Due(at) if at > now && present => {
                    will.fate = Fate::Cancelled;
                    will.is_stored = false;
                }
                Fate::Due(_) => {
                    return Err(("a will that is due is published", format!("{will:?}")));
                }
                // Whatever became of it is over by now.
                Fate::Perhaps if present => {}
                Fate::Perhaps | Fate::Armed | Fate::Published | Fate::Cancelled => {}
            }
        }
        Ok(())
    }

    /// A connection is over. [5:MQTT-3.1.2-8] [5:MQTT-3.1.2-10] [3:MQTT-3.1.2-8] [3:MQTT-3.1.2-10]
    pub(super) fn close(&mut self, now: Timestamp, line: u64, normally: bool) {
        for will in self.all.iter_mut().filter(|will| will.line == line) {
            if will.fate == Fate::Armed {
                will.is_stored = false;
                let wait = will.delay_secs.min(will.expiry_secs);
                will.fate = match normally {
                    true => Fate::Cancelled,
                    false => Fate::Due(now.plus_secs(wait)),
                };
            }
        }
    }

    /// The broker has published one.
    pub(super) fn publish(&mut self, now: Timestamp, topic: &str) -> Result<(), Broken> {
        let found = self.all.iter_mut().enumerate();
        let mut found = found.filter(|(_, will)| will.topic == topic);
        let Some((place, will)) = found.next() else {
            return Err(("a will that nobody left", String::from(topic)));
        };
        match will.fate {
            Fate::Due(at) if at <= now => {}
            Fate::Due(_) => {
                self.early.insert(place);
            }
            Fate::Perhaps => {}
            Fate::Armed | Fate::Published | Fate::Cancelled => {
                return Err(("a will that was not to be published", format!("{will:?}")));
            }
        }
        will.fate = Fate::Published;
        will.is_stored = false;
        Ok(())
    }

    /// A client goes to another broker: what becomes of a will that waits depends on which of them hears what first.
    /// One that does not wait is published when its connection ends, whoever says so. Of all brokers, or of one.
    pub(super) fn doubt(&mut self, client: usize, at: Option<usize>) {
        let of_client = self.all.iter_mut().filter(|will| will.client == client);
        for will in of_client.filter(|will| at.is_none_or(|at| will.at == at)) {
            let waits = will.delay_secs.min(will.expiry_secs) > 0;
            if waits && matches!(will.fate, Fate::Armed | Fate::Due(_)) {
                will.fate = Fate::Perhaps;
            }
        }
    }

    /// The session of a client has ended, so that its will could not wait.
    pub(super) fn end_session(&mut self, client: usize) -> Result<(), Broken> {
        let all = &self.all;
        self.early.retain(|place| all[*place].client != client);
        let left = all
            .iter()
            .find(|will| will.client == client && matches!(will.fate, Fate::Due(_)));
        match left {
            Some(will) => Err(("a will does not outlive its session", format!("{will:?}"))),
            None => Ok(()),
        }
    }

    /// All that has happened is known, and all that is due was done.
    pub(super) fn settle(&self, now: Timestamp) -> Result<(), Broken> {
        if let Some(place) = self.early.first() {
            return Err((
                "a will waits for its delay",
                format!("{:?}", self.all[*place]),
            ));
        }
        let late = self
            .all
            .iter()
            .find(|will| matches!(will.fate, Fate::Due(at) if at <= now));
        match late {
            Some(will) => Err(("a will that is due is published", format!("{will:?}"))),
            None => Ok(()),
        }
    }

    /// The store of a broker knows everything.
    pub(super) fn note_stored(&mut self, at: usize) {
        for will in self.all.iter_mut().filter(|will| will.at == at) {
            will.is_stored = true;
        }
    }

    pub(super) fn connack(&mut self, line: u64) {
        for will in self.all.iter_mut().filter(|will| will.line == line) {
            will.is_stored |= will.fate == Fate::Armed;
        }
    }

    pub(super) fn crash(&mut self, at: usize, has_store: bool) {
        for will in self.all.iter_mut().filter(|will| will.at == at) {
            will.fate = match will.fate {
                Fate::Published | Fate::Cancelled if will.is_stored => will.fate,
                Fate::Armed | Fate::Due(_) if !has_store => Fate::Cancelled,
                Fate::Published | Fate::Cancelled if !has_store => will.fate,
                _ => Fate::Perhaps,
            };
        }
    }
}
