//! What happens in a run, written down before it begins: a step that makes no sense where it comes
//! is left out, so that any part of a script is a script.

use super::oracle::MUCH_WORK;

/// `SplitMix64`.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() % u64::from(end)).unwrap()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(u32::try_from(choices.len()).unwrap());
        choices[usize::try_from(place).unwrap()]
    }

    fn maybe<T: Copy>(&mut self, percent: u32, choices: &[T]) -> Option<T> {
        let choice = self.one_of(choices);
        self.chance(percent).then_some(choice)
    }
}

/// Clients of a run.
pub(super) const CLIENTS: usize = 5;

/// Where messages go. Each belongs to at most one shared subscription, so that counting tells who of
/// a group got one; wills have topics of their own for the same reason.
const TOPICS: [&str; 14] = [
    "a", "a/1", "a/2", "a/b/c", "/1", "b/", "$z/1", "s/1", "s/2", "s/3", "p/x/y", "w/1", "w/2",
    "a/1",
];

const WILL_TOPICS: [&str; 3] = ["will/1", "will/2", "$will/3"];

const FILTERS: [&str; 17] = [
    "a", "a/1", "a/+", "a/#", "+/1", "#", "a/b/c", "+", "+/+", "$z/#", "will/#", "$will/+", "s/#",
    "w/1", "/+", "a/+/c", "b/+",
];

/// Shared subscriptions, and who may be a member. Two at most where messages wait, so that there is no
/// choice when a member's session ends.
const SHARED: [(&str, &[usize]); 5] = [
    ("$share/g/s/1", &[0, 1]),
    ("$share/g/s/2", &[1, 2]),
    ("$share/h/s/3", &[2, 3]),
    ("$share/p/p/+/#", &[3, 4]),
    ("$share/all/w/+", &[0, 1, 2, 3, 4]),
];

/// A group for which nothing waits: its members are granted QoS 0.
const ONLY_QOS_0: &str = "$share/all/w/+";

/// What a run is made of, apart from its steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) seed: u64,
    pub(super) waiting_max: usize,
    pub(super) subscriptions_max: usize,
    pub(super) retained_max: usize,
    pub(super) sessions_max: usize,
    pub(super) in_flight_max: u16,
    pub(super) receive_maximum: u16,
    pub(super) session_expiry_max: Option<u32>,
    /// Steps that one call may take; the rest is for the next.
    pub(super) work_per_call: usize,
    /// The embedder is asked about everything, and allows it.
    pub(super) asks: bool,
    /// A store follows the broker, and the program may end.
    pub(super) journal: bool,
    /// Bytes that the broker is asked for at once.
    pub(super) chunk: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Connect(usize, Hello),
    /// With 0x04 if `with_will`, and another session expiry.
    Disconnect {
        who: usize,
        with_will: bool,
        expiry: Option<u32>,
    },
    /// The network fails; what was on its way is lost.
    Cut(usize),
    /// The embedder ends the connection.
    Kick(usize),
    /// The embedder takes a subscription away.
    Revoke(usize, &'static str),
    /// The embedder asks itself about all subscriptions anew, and grants no more than this QoS.
    Limit(usize, u8),
    Subscribe(usize, Option<u32>, [Option<Wish>; 2]),
    Unsubscribe(usize, &'static str),
    Publish(usize, Letter),
    /// PUBLISH once more, for a QoS 2 message without PUBREC.
    Again(usize),
    /// PUBREL for the oldest QoS 2 message.
    Release(usize),
    /// A message of the embedder's own.
    Announce(Letter),
    /// From here on the client acknowledges at once, or only when told to.
    Answers(usize, bool),
    /// So many acknowledgements.
    Answer(usize, u32),
    /// An acknowledgement that says no.
    Refuse(usize),
    /// From here on the client reads everything at once, or nothing.
    Reads(usize, bool),
    /// One helping of output.
    ReadSome(usize),
    Pass(u32),
    /// The program ends without a warning, and another one begins so many seconds later.
    Restart(u32),
}

/// What CONNECT says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) is_v5: bool,
    pub(super) clean: bool,
    pub(super) expiry: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) alias_maximum: u16,
    pub(super) packet_max: Option<u32>,
    pub(super) will: Option<Testament>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Testament {
    pub(super) topic: &'static str,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) delay: u32,
    pub(super) expiry: Option<u32>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) filter: &'static str,
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) as_published: bool,
    pub(super) handling: u8,
}

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    pub(super) topic: &'static str,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) is_empty: bool,
    pub(super) is_big: bool,
    pub(super) has_note: bool,
    pub(super) expiry: Option<u32>,
    pub(super) alias: Option<u16>,
    /// What DUP says, of a message that never came before.
    pub(super) dup: bool,
    /// PUBREL follows at once.
    pub(super) completes: bool,
}

/// Payloads of big messages have more bytes than a client takes that has set a limit.
pub(super) const BIG: usize = 3000;
const PACKET_MAX: u32 = 600;

pub(super) fn terms(seed: u64) -> Terms {
    let random = &mut Random::new(seed ^ 0x7465_726D_735F_5F5F);
    Terms {
        seed,
        waiting_max: random.one_of(&[1000, 1000, 1000, 6, 3, 1]),
        subscriptions_max: random.one_of(&[1000, 1000, 4]),
        retained_max: random.one_of(&[1000, 1000, 3]),
        sessions_max: random.one_of(&[1000, 1000, 1000, 3]),
        in_flight_max: random.one_of(&[20, 20, 3, 1]),
        receive_maximum: random.one_of(&[20, 20, 3, 1]),
        session_expiry_max: random.one_of(&[None, None, Some(60)]),
        journal: random.chance(50),
        work_per_call: random.one_of(&[MUCH_WORK, MUCH_WORK, 1, 5]),
        chunk: usize::try_from(random.one_of(&[1, 40, 4096])).unwrap(),
        asks: random.chance(30),
    }
}

pub(super) fn steps(seed: u64, len: usize) -> Vec<Step> {
    let random = &mut Random::new(seed);
    // Some runs stay in few places, so that much happens there.
    let topics = random.one_of(&[14, 14, 4]);
    (0..len).map(|_| step(random, topics)).collect()
}

fn step(random: &mut Random, topics: u32) -> Step {
    let who = usize::try_from(random.below(5)).unwrap();
    match random.below(100) {
        0..14 => Step::Connect(who, hello(random)),
        14..16 => Step::Disconnect {
            who,
            with_will: random.chance(40),
            expiry: random.maybe(40, &[0, 5, 100, u32::MAX]),
        },
        16..21 => Step::Cut(who),
        21..23 => Step::Kick(who),
        23..37 => {
            let id = random.maybe(40, &[1, 2, 3, 268_435_455]);
            let second = random.chance(30).then(|| wish(random, who));
            Step::Subscribe(who, id, [Some(wish(random, who)), second])
        }
        37..41 => Step::Unsubscribe(who, filter(random, who)),
        41..66 => Step::Publish(who, letter(random, topics)),
        66..68 => Step::Again(who),
        68..71 => Step::Release(who),
        71..74 => Step::Announce(letter(random, topics)),
        74..79 => Step::Answers(who, random.chance(50)),
        79..85 => Step::Answer(who, 1 + random.below(3)),
        85..87 => Step::Refuse(who),
        87..91 => Step::Reads(who, random.chance(60)),
        91..94 => Step::ReadSome(who),
        94..96 => Step::Restart(random.one_of(&[0, 0, 5, 50])),
        96 => Step::Revoke(who, filter(random, who)),
        97 if random.chance(50) => Step::Limit(who, random.one_of(&[0, 1, 1, 2])),
        _ => Step::Pass(random.one_of(&[1, 1, 4, 10, 40])),
    }
}

fn hello(random: &mut Random) -> Hello {
    let is_v5 = random.chance(60);
    Hello {
        is_v5,
        clean: random.chance(25),
        expiry: random.maybe(80, &[0, 5, 20, 100, u32::MAX, u32::MAX]),
        receive_maximum: random.maybe(50, &[1, 1, 2, 5]),
        alias_maximum: random.one_of(&[0, 1, 2, 100]),
        packet_max: random.maybe(20, &[PACKET_MAX]),
        will: random.chance(40).then(|| Testament {
            topic: random.one_of(&WILL_TOPICS),
            qos: random.one_of(&[0, 1, 2]),
            retain: random.chance(40),
            delay: random.one_of(&[0, 0, 3, 12, 200]),
            expiry: random.maybe(30, &[4, 50]),
        }),
    }
}

fn filter(random: &mut Random, who: usize) -> &'static str {
    let (shared, members) = random.one_of(&SHARED);
    if members.contains(&who) && random.chance(80) {
        return shared;
    }
    random.one_of(&FILTERS)
}

fn wish(random: &mut Random, who: usize) -> Wish {
    let filter = filter(random, who);
    let is_shared = filter.starts_with("$share/");
    Wish {
        filter,
        qos: match filter {
            ONLY_QOS_0 => 0,
            _ => random.one_of(&[0, 1, 2, 2]),
        },
        // [5:MQTT-3.8.3-4]
        no_local: !is_shared && random.chance(30),
        as_published: random.chance(40),
        handling: random.one_of(&[0, 0, 1, 2]),
    }
}

fn letter(random: &mut Random, topics: u32) -> Letter {
    let place = usize::try_from(random.below(topics)).unwrap();
    let shared = random.maybe(20, &["s/1", "s/2", "s/3"]);
    Letter {
        topic: shared.unwrap_or(TOPICS[place]),
        qos: random.one_of(&[0, 1, 1, 2, 2]),
        retain: random.chance(35),
        is_empty: random.chance(8),
        is_big: random.chance(4),
        has_note: random.chance(25),
        expiry: random.maybe(25, &[1, 5, 30, 1000]),
        alias: random.maybe(25, &[1, 2, 10]),
        dup: random.chance(10),
        completes: random.chance(65),
    }
}
