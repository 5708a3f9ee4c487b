//! What a simulation has met, so that one that meets nothing is not taken for a proof.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use mqtt_codec::{PacketType, ProtocolVersion, QoS};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something that goes wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// In words.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    /// Bytes arrive in pieces that break a packet.
    Split = "split",
    /// Bytes arrive later than they could.
    Delay = "delay",
    /// A connection is cut, and both sides are told.
    Cut = "cut",
    /// A connection is cut in the middle of a packet.
    CutInPacket = "cut in a packet",
    /// A client loses its connection, and the broker is not told.
    HalfOpenClient = "half open, client gone",
    /// The broker loses a connection, and the client is not told.
    HalfOpenBroker = "half open, broker gone",
    /// The broker's program ends without a warning, and another goes on with what was stored.
    CrashBroker = "crash of the broker",
    /// The same with a broker that has no store.
    CrashBrokerWithoutStore = "crash of a broker without a store",
    /// A client's program ends without a warning, and another goes on with what was stored.
    CrashClient = "crash of a client",
    /// The same with a client that has no store: its session is forgotten on its side.
    CrashClientWithoutStore = "crash of a client without a store",
    /// Hours pass at once.
    ClockJump = "clock jumps ahead",
    /// A machine is told an earlier time than before.
    ClockBack = "clock goes back",
    /// A link between two brokers carries nothing for a while, and what was on it is lost.
    LinkCut = "link between brokers cut",
    /// A side does not read for a while.
    SlowReader = "slow reader",
    /// A store falls behind.
    SlowStore = "slow store",
    /// A store takes nothing more, and the broker is told so.
    StoreFails = "store fails for good",
    /// A client connects while its older connection is open.
    TakeOver = "take-over",
    /// The broker ends a connection for a reason of its embedder's.
    Kick = "kicked by the broker",
    /// A stranger sends the broker a packet, in whatever state its connection is.
    StrangeClient = "strange client",
    /// A stranger sends the broker bytes that are no packet.
    StrangeBytes = "strange bytes",
    /// A server sends a client a packet, in whatever state that is.
    StrangeServer = "strange server",
}

/// Where a connection is when a packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Before the CONNECT, or the CONNACK, that begins it.
    Connecting,
    Connected,
    /// It is over, and its last bytes are not gone.
    Ending,
}

const STAGES: [&str; 3] = ["connecting", "connected", "ending"];
const ROLES: [&str; 2] = ["broker", "client"];

/// Counts over one run or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// Runs.
    pub runs: u64,
    /// Actions carried out.
    pub steps: u64,
    /// Packets that a machine has taken.
    pub packets: u64,
    /// Bytes, likewise.
    pub bytes: u64,
    /// Messages that clients have taken from their applications.
    pub published: u64,
    /// Messages that clients have handed to their applications.
    pub delivered: u64,
    /// Connections that found their session.
    pub resumes: u64,
    /// Connections that ended an older one of the same client.
    pub take_overs: u64,
    /// Machines made from what was stored.
    pub restores: u64,
    /// Wills that were published.
    pub wills: u64,
    /// PUBLISH packets sent again.
    pub repeated: u64,
    /// Messages that a client has given up, as their time was over.
    pub expired_at_client: u64,
    /// Packets that a broker handed out while it took what brought them about.
    pub handed_out_at_once: u64,
    /// Messages that a client was shown.
    pub shown: u64,
    /// Messages that the broker has given up for one of its clients.
    pub expired_at_broker: u64,
    /// Messages that were sent with less time than they had at first.
    pub counted_down: u64,
    /// Messages that applications have acknowledged themselves, and those that they have refused, at
    /// QoS 1 and 2.
    pub acknowledged: [[u64; 2]; 2],
    /// Messages that applications have acknowledged with words.
    pub acknowledged_with_words: u64,
    /// Connections that heard of a store that has failed: with DISCONNECT, with CONNACK in place of the one that waited
    /// for it, without a word, and with CONNACK as they came later.
    pub told_of_failure: [u64; 4],
    /// Connections that had as many questions as their share is.
    pub full_shares: u64,
    /// Messages that subscriptions of the embedder's own have got.
    pub told_locals: u64,
    /// Subscriptions that were taken away by the embedder, and those that it was asked about once more.
    pub revoked: u64,
    /// See `revoked`.
    pub reconsidered: u64,
    /// Questions that were open until their time was over, or forgotten before.
    pub unanswered: u64,
    /// Steps of enhanced authentications: a client is asked, refused, let in, or content again; one does not answer; one
    /// hears that it is authenticated again.
    pub authentication: [u64; 6],
    /// What a broker without memory has not taken: messages, those of one receiver, clients, and subscriptions, with those
    /// that were denied.
    pub no_room: [u64; 4],
    /// Messages that had to come again, as an application had not acknowledged them.
    pub left_unacknowledged: u64,
    /// Messages that a member of a group has got, by QoS.
    pub turns: [u64; 3],
    /// Messages of a group that went to another member, as the session of the first has ended.
    pub turns_again: u64,
    /// Messages from one broker to another.
    pub carried: u64,
    /// Links between brokers that carry again.
    pub heals: u64,
    /// Sessions that followed their client to another broker.
    pub moves: u64,
    /// Filters that a joined broker had no room for.
    pub not_noted: u64,
    /// Subscriptions that there was no room for where their session had gone.
    pub not_moved: u64,
    /// Joined brokers that have ended without a warning, and begun anew.
    pub restarts: u64,
    /// Times that one was told of another one that had done so with too low an incarnation.
    pub too_low: u64,
    /// Messages that were got at another broker than they came to, and those of groups.
    pub far: [u64; 2],
    /// QoS 2 messages that were given up after they were sent, by a client and by a broker.
    pub given_up: [u64; 2],
    /// Machines whose heap was looked at when all had left.
    pub weighed: u64,
    /// The most bytes that one of them still had there, above a new one.
    pub heap_most: u64,
    /// Faults by kind, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Packets taken: by the broker or a client, by stage, by type.
    cells: [[[u64; 15]; 3]; 2],
    /// Messages delivered by version and QoS.
    deliveries: [[u64; 3]; 2],
}

impl Coverage {
    pub(super) fn of_one_run() -> Self {
        Self {
            runs: 1,
            ..Self::default()
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(super) fn packet(&mut self, at_client: bool, stage: Stage, first_byte: u8) {
        if let Ok(packet_type) = PacketType::try_from(first_byte >> 4) {
            let place = usize::from(packet_type.value()) - 1;
            self.cells[usize::from(at_client)][stage as usize][place] += 1;
        }
    }

    pub(super) fn delivery(&mut self, version: ProtocolVersion, qos: QoS) {
        let version = usize::from(version == ProtocolVersion::V5_0);
        self.deliveries[version][usize::from(u8::from(qos))] += 1;
        self.delivered += 1;
    }

    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.runs, other.runs),
            (&mut self.steps, other.steps),
            (&mut self.packets, other.packets),
            (&mut self.bytes, other.bytes),
            (&mut self.published, other.published),
            (&mut self.delivered, other.delivered),
            (&mut self.resumes, other.resumes),
            (&mut self.take_overs, other.take_overs),
            (&mut self.restores, other.restores),
            (&mut self.wills, other.wills),
            (&mut self.repeated, other.repeated),
            (&mut self.expired_at_client, other.expired_at_client),
            (&mut self.handed_out_at_once, other.handed_out_at_once),
            (&mut self.shown, other.shown),
            (&mut self.expired_at_broker, other.expired_at_broker),
            (&mut self.counted_down, other.counted_down),
            (&mut self.left_unacknowledged, other.left_unacknowledged),
            (
                &mut self.acknowledged_with_words,
                other.acknowledged_with_words,
            ),
            (&mut self.full_shares, other.full_shares),
            (&mut self.told_locals, other.told_locals),
            (&mut self.revoked, other.revoked),
            (&mut self.reconsidered, other.reconsidered),
            (&mut self.unanswered, other.unanswered),
            (&mut self.turns_again, other.turns_again),
            (&mut self.weighed, other.weighed),
            (&mut self.carried, other.carried),
            (&mut self.heals, other.heals),
            (&mut self.moves, other.moves),
            (&mut self.restarts, other.restarts),
            (&mut self.too_low, other.too_low),
            (&mut self.not_noted, other.not_noted),
            (&mut self.not_moved, other.not_moved),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        self.heap_most = self.heap_most.max(other.heap_most);
        for (sum, more) in self.faults.iter_mut().zip(other.faults) {
            *sum += more;
        }
        let cells = self.cells.as_flattened_mut().as_flattened_mut();
        for (sum, more) in cells
            .iter_mut()
            .zip(other.cells.as_flattened().as_flattened())
        {
            *sum += more;
        }
        for (sum, more) in self.far.iter_mut().zip(other.far) {
            *sum += more;
        }
        for (sum, more) in { self.told_of_failure.iter_mut() }.zip(other.told_of_failure) {
            *sum += more;
        }
        for (sum, more) in { self.authentication.iter_mut() }.zip(other.authentication) {
            *sum += more;
        }
        for (sum, more) in { self.no_room.iter_mut() }.zip(other.no_room) {
            *sum += more;
        }
        for (sum, more) in self.given_up.iter_mut().zip(other.given_up) {
            *sum += more;
        }
        for (sum, more) in self.turns.iter_mut().zip(other.turns) {
            *sum += more;
        }
        let acknowledged = self.acknowledged.as_flattened_mut();
        for (sum, more) in acknowledged
            .iter_mut()
            .zip(other.acknowledged.as_flattened())
        {
            *sum += more;
        }
        let deliveries = self.deliveries.as_flattened_mut();
        for (sum, more) in deliveries.iter_mut().zip(other.deliveries.as_flattened()) {
            *sum += more;
        }
    }

    /// Faults of all kinds.
    #[must_use]
    pub fn faults_len(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// What was not met at all.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for fault in Fault::ALL {
            if self.faults[fault as usize] == 0 {
                missing.push(String::from(fault.name()));
            }
        }
        for (role, stages) in ROLES.iter().zip(&self.cells) {
            for (stage, types) in STAGES.iter().zip(stages) {
                for (packet_type, count) in PacketType::ALL.iter().zip(types) {
                    if *count == 0 {
                        missing.push(format!("{packet_type} at a {role} that is {stage}"));
                    }
                }
            }
        }
        for (version, counts) in ["3.1.1", "5.0"].iter().zip(&self.deliveries) {
            for (qos, count) in counts.iter().enumerate() {
                if *count == 0 {
                    missing.push(format!("a message at QoS {qos} in {version}"));
                }
            }
        }
        for (done, counts) in ["acknowledged", "refused"].iter().zip(&self.acknowledged) {
            for (qos, count) in (1..).zip(counts) {
                if *count == 0 {
                    missing.push(format!("a message {done} by its application at QoS {qos}"));
                }
            }
        }
        for (qos, count) in self.turns.iter().enumerate() {
            if *count == 0 {
                missing.push(format!("a message of a group at QoS {qos}"));
            }
        }
        let others = [
            (self.resumes, "a session resumed"),
            (self.take_overs, "a take-over"),
            (self.restores, "a restore"),
            (self.wills, "a will"),
            (self.repeated, "a PUBLISH sent again"),
            (self.expired_at_client, "a message that expires at a client"),
            (
                // Small programs do without.
                self.handed_out_at_once + u64::from(cfg!(feature = "small")),
                "a packet that is handed out at once",
            ),
            (self.shown, "a message that is shown"),
            (self.expired_at_broker, "a message that expires at a broker"),
            (
                self.left_unacknowledged,
                "a message that was not acknowledged",
            ),
            (
                self.turns_again,
                "a message of a group that changes its member",
            ),
            (
                self.acknowledged_with_words,
                "a message acknowledged with words",
            ),
            (self.told_of_failure[0], "a goodbye as the store has failed"),
            (self.told_of_failure[1], "a refusal as the store has failed"),
            (
                self.told_of_failure[2],
                "a close without a word as the store has failed",
            ),
            (
                self.told_of_failure[3],
                "a refusal after the store has failed",
            ),
            (self.full_shares, "a connection with all of its questions"),
            (
                self.told_locals,
                "a message for a subscription of the embedder",
            ),
            (self.revoked, "a subscription that is taken away"),
            (
                self.reconsidered,
                "a subscription that is asked about again",
            ),
            (self.unanswered, "a question that nobody answers in time"),
            (self.no_room[0], "a message that there is no memory for"),
            (
                self.no_room[1],
                "a message that there is no memory for in a session",
            ),
            (self.no_room[2], "a client that there is no memory for"),
            (
                self.no_room[3],
                "a subscription that there is no memory for",
            ),
            (self.authentication[0], "a client that is asked for more"),
            (
                self.authentication[1],
                "a client that is refused as it authenticates",
            ),
            (
                self.authentication[2],
                "a client that is let in as it authenticates",
            ),
            (
                self.authentication[4],
                "a client that does not answer when it is asked for more",
            ),
            (
                self.authentication[5],
                "a client that is authenticated again",
            ),
            (self.counted_down, "a message with less time than at first"),
            (self.heals, "a link between brokers that carries again"),
            (
                self.moves,
                "a session that follows its client to another broker",
            ),
            (self.restarts, "a joined broker that begins anew"),
            (
                self.too_low,
                "a joined broker that begins anew with too low an incarnation",
            ),
            (
                self.not_noted,
                "a filter that a joined broker has no room for",
            ),
            (
                self.not_moved,
                "a subscription that stays behind when its session goes",
            ),
            (
                self.given_up[0],
                "a message that a client gives up after it was sent",
            ),
            (
                self.given_up[1],
                "a message that a broker gives up after it was sent",
            ),
            (self.far[0], "a message of another broker"),
            (self.far[1], "a message of a group of another broker"),
        ];
        let none = others.iter().filter(|(count, _)| *count == 0);
        missing.extend(none.map(|(_, name)| String::from(*name)));
        missing
    }
}
