//! The simulation: nothing is broken, it says so when something is, and it is nobody's but its seed's.

use std::fs;
use std::path::Path;

use mqtt_state::broker::{JournalEntry, PublishAnswer, StoreKey, StoreValue};
use mqtt_state::sim::{self, Coverage, Embedder, Plain, Plan};

#[test]
fn whatever_goes_wrong_nothing_is_broken() {
    let mut coverage = Coverage::default();
    // Some 200, one with an application that refuses a message at QoS 2, one with a broker that gives a message up
    // after it was sent, and one with a session that goes where there is no room for all of it, which are rare.
    for seed in (0..200).chain([247, 513, 585]) {
        let report = sim::run(seed, &mut Plain::default());
        if let Some(failure) = report.failure {
            panic!("seed {seed}: {failure}");
        }
        coverage.add(&report.coverage);
    }
    assert_eq!(coverage.missing(), [""; 0], "all of it was met");
    assert!(coverage.delivered > 1000 && coverage.repeated > 100);
}

/// What they found is in the tests that are named there, should a seed come to mean another run.
#[test]
fn seeds_that_have_failed_fail_no_more() {
    let seeds = [
        // Took a session for an older one, whose end was not stored when its program ended:
        // `a_crash_before_it_is_stored_that_a_session_is_lost_leaves_the_older_one`.
        46_164,
        // Came behind a later message after a crash, as nobody had subscribed when it first came:
        // `a_message_from_before_a_subscription_comes_late_when_it_is_sent_again`.
        52_859,
        // Nobody was left for a message when it came again:
        // `nobody_matches_a_message_that_comes_again_when_its_publisher_keeps_its_own_back`.
        65_551,
        // Subscribed, unsubscribed and subscribed again before the first answer:
        // `what_was_granted_before_an_unsubscribe_says_nothing_of_what_follows_it`.
        13_613, // Fan-outs, questions and applications that acknowledge late.
        58_258, 124_364, 262_454,
        // The broker: a message that was stored while its receiver had no quota waited for the store
        // when the quota came back, although nothing was left to be stored.
        474_171,
        // A member's session ended before the publisher was answered, and a message that had been dropped
        // came again.
        3_391, 60_010,
        // Store: `nothing_goes_before_it_is_stored_that_what_stood_in_front_of_it_is_dropped`.
        363_182,
        // Subscribed while a message waited for its turn: `what_is_not_with_everybody_yet_may_go_to_whoever_subscribes`.
        259_960,
        // Refused, and sent again after each restart: `what_was_refused_before_comes_behind_later_ones_after_another_crash`.
        381_675,
        // Acknowledged by the application before its publisher was answered:
        // `what_the_machine_knows_to_be_acknowledged_need_not_come_again`.
        468_606, // Joined brokers: `a_link_comes_up_while_a_session_is_looked_for`.
        5_457, 5_985,
        // Joined brokers: `a_retained_message_that_expires_takes_the_place_of_an_older_one`.
        11_217, 26_129,
        // Sessions of which there were two when a link was cut, and subscriptions that change meanwhile.
        5_401, 13_369, 22_913, 51_497,
        // A will that is left where the client is no more, and a claim for a connection that is over.
        370_649, 814_649, 656_473,
        // Joined brokers: `messages_that_come_and_do_not_fit`.
        911_473,
        // A client that came back to an older session, where its identifiers stood for other messages:
        // `an_identifier_is_mistaken_only_in_a_session_that_was_left_behind`.
        950_849,
        // Joined brokers: `a_session_begins_anew_after_it_was_told_of`, and the same for one that was coming as a
        // link was cut.
        163_009, 835_153,
        // A connection of a session that was left behind, while a link was cut and when there was one of it again:
        // `a_connection_of_an_older_session_begins_and_ends_like_any_other`.
        1_109_993, 1_150_649,
        // A member whose session ended while it was on its way to another broker:
        // `a_turn_goes_on_when_a_session_ends_whose_client_is_on_its_way_to_another_broker`.
        1_132_457, 1_180_345, 1_252_025,
        // Joined brokers that crash: `retained_messages_of_a_run_before_that_come_back`.
        12_901, 46_085, 55_269, // And `retained_messages_out_of_a_store`.
        37_653, // And `what_is_not_stored_is_not_acknowledged`.
        152_053,
        // And `a_session_that_comes_has_room_in_the_store_for_both_of_its_parts`.
        184_709, // CONNACK of a connection that another one has taken the place of.
        191_093,
        // Taken away, and back after a crash behind UNSUBACK: `unsuback_of_what_was_taken_away_waits_for_the_store`.
        3_166,
        // Went before a CONNACK that waited: `no_message_goes_before_a_connack_that_waits_behind_a_dialogue`.
        2_525,
        // A goodbye that was put off in each call: `a_broker_that_drains_comes_to_an_end`.
        0, 85, 136,
    ];
    for seed in seeds {
        let failure = sim::run(seed, &mut Plain::default()).failure;
        assert_eq!(failure, None, "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run_byte_by_byte() {
    for seed in 0..20 {
        let run = || sim::trace(&Plan::new(seed), &mut Plain::default());
        let (first, second) = (run(), run());
        assert_eq!(first, second, "seed {seed}");
        assert_eq!(sim::run(seed, &mut Plain::default()).digest, first.digest);
        assert_ne!(
            sim::run(seed + 1, &mut Plain::default()).digest,
            first.digest
        );
    }
}

/// A heap on which a little is left behind.
#[derive(Default)]
struct Leaky {
    table: Plain,
    machines: u64,
}

impl Embedder for Leaky {
    fn write(&mut self, entry: &JournalEntry) {
        self.table.write(entry);
    }

    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue)) {
        self.table.read(put);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn freed(&mut self, free: &mut dyn FnMut()) -> Option<u64> {
        free();
        self.machines += 1;
        // The first one is the broker that has been at work.
        Some(if self.machines == 1 { 1_000_000 } else { 1_000 })
    }
}

#[test]
fn a_machine_that_keeps_its_memory_is_found_out() {
    let failure = sim::run(0, &mut Leaky::default()).failure.unwrap();
    assert_eq!(failure.rule, "live bytes are back at base");
}

/// A store that forgets every third entry.
#[derive(Default)]
struct Forgetful {
    table: Plain,
    entries: usize,
}

impl Embedder for Forgetful {
    fn write(&mut self, entry: &JournalEntry) {
        self.entries += 1;
        if !self.entries.is_multiple_of(3) {
            self.table.write(entry);
        }
    }

    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue)) {
        self.table.read(put);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[test]
fn a_store_that_forgets_is_found_out_and_fewer_steps_show_it() {
    let mut store = Forgetful::default();
    let fails = |seed: &u64| sim::run(*seed, &mut Forgetful::default()).failure.is_some();
    let seed = (0..100).find(fails).unwrap();
    let plan = Plan::new(seed);
    let rule = sim::run_plan(&plan, &mut store).failure.unwrap().rule;
    let short = sim::shrink(&plan, &mut store);
    assert!(short.len() * 4 < plan.len(), "{} steps", short.len());
    assert_eq!(
        sim::run_plan(&short, &mut store).failure.unwrap().rule,
        rule
    );
}

/// A policy that lets nobody publish, and says so.
#[derive(Default)]
struct Closed(Plain);

impl Embedder for Closed {
    fn write(&mut self, entry: &JournalEntry) {
        self.0.write(entry);
    }

    fn read(&self, put: &mut dyn FnMut(StoreKey, StoreValue)) {
        self.0.read(put);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn broker_config(&self, mut chosen: mqtt_state::broker::Config) -> mqtt_state::broker::Config {
        chosen.ask.publish = true;
        chosen
    }

    fn decide_publish(&mut self, _: &str, _: &mqtt_codec::Message) -> PublishAnswer {
        PublishAnswer::Drop
    }
}

#[test]
fn a_policy_of_the_embedder_is_asked() {
    let mut with_local = 0;
    for seed in 0..20 {
        let report = sim::run(seed, &mut Closed::default());
        assert_eq!(report.failure, None, "seed {seed}");
        // What the broker itself publishes is not asked for.
        with_local += report.coverage.delivered;
    }
    let open: u64 = (0..20)
        .map(|seed| sim::run(seed, &mut Plain::default()).coverage.delivered)
        .sum();
    assert!(with_local * 2 < open, "{with_local} of {open}");
}

/// The machines are the same with the feature and without: it adds one module, and nothing else is
/// compiled otherwise.
#[test]
fn the_feature_adds_one_module_and_changes_no_machine() {
    fn search(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().collect::<Vec<_>>();
                for pair in lines.windows(2) {
                    if pair[0].contains("feature = \"sim\"") {
                        found.push(format!("{} {}", pair[0].trim(), pair[1].trim()));
                    }
                }
            }
        }
    }
    let mut found = Vec::new();
    search(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert_eq!(found, ["#[cfg(feature = \"sim\")] pub mod sim;"]);
}
