//! A log of everything that a machine is told, to be run again elsewhere (feature `record`): the way to
//! report a bug.
//!
//! A machine is a pure function of the calls that change it. A [`Recorder`] offers the methods of a
//! [`Client`](crate::client::Client), a [`server::Connection`](crate::server::Connection) or a
//! [`Broker`](crate::broker::Broker), calls them, and writes down what went in and what came of it. A
//! [`Replay`] makes the same calls to a new machine, and says where the first answer differs.
//!
//! ```
//! use mqtt_state::broker::{Broker, Config, Peer};
//! use mqtt_state::record::{self, Recorder};
//! use mqtt_state::Timestamp;
//!
//! let mut broker = Recorder::<Broker>::new(Config::default());
//! let connection = broker.accept(Timestamp::ZERO, Peer::default())?;
//! let _none = broker.handle_input(Timestamp::from_millis(5), connection, b"\x30\x03\0\x01t");
//! // What only looks is the machine's own, and is not written down.
//! assert_eq!(broker.stats().connections, 1);
//!
//! let log = broker.take_log();
//! let verdict = record::replay(&log)?;
//! assert_eq!((verdict.calls, verdict.difference), (2, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in a log
//!
//! **Everything that went in**: addresses, client identifiers, user names, **passwords**, topics, and
//! **payloads**, in plain text or in hexadecimal digits; sessions and messages that were restored; the
//! whole `Config` with its seed. Of what came out: what `Debug` shows, which has neither passwords nor
//! payloads, and a digest of all of it. Give a log only to whom you would give all of that, or give what
//! [`redact()`] has left of it.
//!
//! # The form
//!
//! Text, line by line:
//!
//! ```text
//! mqtt-state log 1
//! {"library":"0.1.0","machine":{"Broker":{"server":{"packet_size_max":1048576, ...}, ...}}}
//! > {"accept":{"now":0,"peer":{"address":null,"listener":null,"identity":null}}}
//! < 1b1d8a4a2cbf0d6e Ok(ConnectionId(0.0)); due 10000000000 Connect
//! ```
//!
//! The first line has the number of the form, the second one the version of this library, the machine and
//! its configuration. Then each call is a line `>` with its arguments, written before it is carried out, so
//! that the last one is there if it never comes back; and a line `<` with what came of it: a digest of
//! the answer, of bytes and events that were handed out, of messages that were shown, and of the next deadline, then
//! the same in words, cut after some hundred bytes. Packets and input are in hexadecimal digits; of input, what was offered
//! before and is offered again is only counted (`kept`). Of packets that a broker handed out at once those that the
//! driver did not take are numbered (`refused`), which is written in place of the call when that has come back. A line `!`
//! says why a log ends early.
//!
//! A log is meant for the version that wrote it. Another one reads it as long as the number of the form is
//! the same; that the answers are then the same is just what a replay finds out.
//!
//! # Costs
//!
//! A log grows by some 100 bytes with each call, and by twice the bytes that come in. It stands in memory
//! until [`take_log`](Recorder::take_log) takes it, up to [`LOG_BYTES_MAX`] bytes or what
//! [`set_log_bytes_max`](Recorder::set_log_bytes_max) says; there it ends, and the machine goes on.

macro_rules! by_ref {
    ([] $arg:ident) => {
        &$arg
    };
    ([&] $arg:ident) => {
        $arg
    };
}

/// A machine that has one connection, and what is wrong with a log that names one.
macro_rules! one_connection {
    ($machine:ty, $otherwise:expr) => {
        impl $crate::record::Machine for $machine {
            fn due(&self) -> Option<$crate::Timeout> {
                self.poll_timeout()
            }
        }

        impl $crate::record::Drive for $machine {
            fn take(
                &mut self,
                now: $crate::Timestamp,
                of: Option<$crate::broker::ConnectionId>,
                input: &[u8],
            ) -> Result<$crate::Consumed, $crate::record::Unfit> {
                match of {
                    None => Ok(self.handle_input(now, input)),
                    Some(_) => Err($crate::record::Unfit($otherwise)),
                }
            }

            fn take_shared(
                &mut self,
                now: $crate::Timestamp,
                of: Option<$crate::broker::ConnectionId>,
                input: &mut bytes::BytesMut,
            ) -> Result<$crate::Consumed, $crate::record::Unfit> {
                match of {
                    None => Ok(self.handle_input_shared(now, input)),
                    Some(_) => Err($crate::record::Unfit($otherwise)),
                }
            }
        }
    };
}

/// The methods of a machine that change it, each once: as a method of its recorder, as a call in a log, and
/// as what a replay does with that.
///
/// `name(argument: [how it is passed] its form in the log as its type) into what is appended to => answer`
///
/// In front of them stand doors for input that only this machine has, and what a replay does with them.
macro_rules! recorded {
    (
        $machine:ident, $call:ident $( , $door:ident by $offer:path )*;
        $(
            $name:ident ( $( $arg:ident : [$($amp:tt)?] $form:ty as $type:ty ),* $(,)? )
                $( into $buf:ident : $out:ty )? => $result:ty;
        )*
    ) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(non_camel_case_types, reason = "the names of the methods")]
        pub(super) enum $call {
            handle_input(super::Input),
            handle_input_shared(super::Input),
            $( $door(super::Input), )*
            $( $name { $( $arg: $form ),* }, )*
        }

        #[allow(
            clippy::missing_errors_doc,
            clippy::too_many_arguments,
            reason = "the methods that are called have all that"
        )]
        impl super::Recorder<$machine> {
            $(
                #[doc = concat!("Records [`", stringify!($machine), "::", stringify!($name), "`].")]
                pub fn $name(
                    &mut self
                    $(, $arg: $($amp)? $type)*
                    $(, $buf: &mut $out)?
                ) -> $result {
                    self.tape.call(|| Ok($call::$name {
                        $( $arg: <$form as super::form::Form>::of(by_ref!([$($amp)?] $arg))? ),*
                    }));
                    $( let before = $buf.len(); )?
                    let result = self.machine.$name( $( $arg, )* $( $buf )? );
                    let _digest = self.tape.answer(&self.machine, &result, |_sink| {
                        $( super::outcome::Appended::digest($buf, before, _sink); )?
                    });
                    result
                }
            )*
        }

        impl $call {
            /// Makes the call.
            pub(super) fn perform(&self, on: &mut super::Recorder<$machine>) -> Result<(), super::form::Unfit> {
                match self {
                    Self::handle_input(input) => super::Drive::offer(on, input, false)?,
                    Self::handle_input_shared(input) => super::Drive::offer(on, input, true)?,
                    $( Self::$door(input) => $offer(on, input)?, )*
                    $(
                        Self::$name { $( $arg ),* } => {
                            $( let mut $buf = <$out>::new(); )?
                            let _answer = on.$name(
                                $( $($amp)? <$form as super::form::Form>::give($arg)?, )*
                                $( &mut $buf )?
                            );
                        }
                    )*
                }
                Ok(())
            }
        }
    };
}

mod broker;
mod client;
mod form;
mod outcome;
mod redact;
mod replay;
mod server;
mod tape;

use core::fmt;
use core::ops::Deref;

use alloc::vec::Vec;
use bytes::BytesMut;

use crate::broker::ConnectionId;
use crate::{Consumed, Timeout, Timestamp};
use form::{Hex, Unfit};
use tape::Tape;

pub use redact::{Redacted, Redaction, redact};
pub use replay::{LogError, LogErrorKind, Replay, Step, Verdict, replay};

/// Bytes of a log that stand in memory before it is taken: 64 MiB.
pub const LOG_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A machine, and a log of everything that it is told.
///
/// It has the methods of the machine that change it; those that look are reached through [`Deref`]. There is
/// no way to change the machine that would not be written down.
pub struct Recorder<M> {
    machine: M,
    tape: Tape,
}

impl<M> Recorder<M> {
    /// A recorder that writes nothing, for programs in which a flag decides: its log has ended before it
    /// began.
    #[must_use]
    pub const fn silent(machine: M) -> Self {
        Self {
            machine,
            tape: Tape::silent(),
        }
    }

    /// Takes what was written since it was taken last. All of it, in this order, is the log.
    pub fn take_log(&mut self) -> Vec<u8> {
        self.tape.take()
    }

    /// Bytes that [`take_log`](Self::take_log) would take.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.tape.len()
    }

    /// The most bytes of the log that stand in memory before they are taken. Where one call more has no
    /// room, the log ends with a line that says so, and the machine goes on.
    pub fn set_log_bytes_max(&mut self, bytes: usize) {
        self.tape.set_bytes_max(bytes);
    }

    /// Whether the log has ended, so that the machine goes on without one.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.tape.has_ended()
    }

    /// The machine, without a log from here on.
    #[must_use]
    pub fn into_machine(self) -> M {
        self.machine
    }
}

impl<M> Deref for Recorder<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}

impl<M: fmt::Debug> fmt::Debug for Recorder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("machine", &self.machine)
            .field("log_len", &self.log_len())
            .finish()
    }
}

/// Bytes that are offered to a machine.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    now: Timestamp,
    /// A broker has many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection: Option<ConnectionId>,
    /// So many bytes of what was not taken before stand in front.
    kept: usize,
    bytes: Hex,
    /// Of the packets that this input had handed out at once, those that the driver had no room for: so many were
    /// before each of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<usize>,
}

/// What all machines have.
trait Machine {
    /// When it wants to be called.
    fn due(&self) -> Option<Timeout>;
}

/// What all machines that take bytes have.
trait Drive: Machine + Sized {
    fn take(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &[u8],
    ) -> Result<Consumed, Unfit>;

    fn take_shared(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &mut BytesMut,
    ) -> Result<Consumed, Unfit>;

    /// Offers what a log has.
    fn offer(on: &mut Recorder<Self>, input: &Input, is_shared: bool) -> Result<(), Unfit>
    where
        Recorder<Self>: Offer,
    {
        let bytes = on.tape.offered(input)?;
        let (now, of) = (input.now, input.connection);
        let _consumed = if is_shared {
            on.offer_shared(now, of, &mut BytesMut::from(&*bytes))?
        } else {
            on.offer_borrowed(now, of, &bytes)?
        };
        Ok(())
    }
}

/// Both doors of a recorder.
trait Offer {
    fn offer_borrowed(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &[u8],
    ) -> Result<Consumed, Unfit>;

    fn offer_shared(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &mut BytesMut,
    ) -> Result<Consumed, Unfit>;
}

impl<M: Drive> Offer for Recorder<M> {
    fn offer_borrowed(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &[u8],
    ) -> Result<Consumed, Unfit> {
        self.tape.input("handle_input", now, of, input);
        let consumed = self.machine.take(now, of, input)?;
        self.tape
            .keep(of, input.get(consumed.bytes..).unwrap_or_default());
        self.tape.answer(&self.machine, &consumed, |_sink| {});
        Ok(consumed)
    }

    fn offer_shared(
        &mut self,
        now: Timestamp,
        of: Option<ConnectionId>,
        input: &mut BytesMut,
    ) -> Result<Consumed, Unfit> {
        self.tape.input("handle_input_shared", now, of, input);
        let consumed = self.machine.take_shared(now, of, input)?;
        self.tape.keep(of, input);
        self.tape.answer(&self.machine, &consumed, |_sink| {});
        Ok(consumed)
    }
}
