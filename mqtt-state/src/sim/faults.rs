//! What goes wrong with a line, and a client's program that ends.

use core::time::Duration;

use super::coverage::Fault;
use super::random::Random;
use super::watch::Flights;
use super::world::World;

/// Packets that a client takes that has begun again, in bytes: some messages are larger, or none is.
const SMALL: u32 = 33;
const LARGE: u32 = 1024 * 1024;

impl World<'_> {
    pub(super) fn cut(&mut self, random: &mut Random) {
        if self.lines.is_empty() {
            return;
        }
        let place = random.below(self.lines.len());
        let line = &mut self.lines[place];
        let in_packet = !line.up.transit.is_empty() || !line.down.transit.is_empty();
        let fault = match in_packet {
            true => Fault::CutInPacket,
            false => Fault::Cut,
        };
        // Some of what was on its way arrives.
        for len in [random.below(20), 0] {
            if len > 0 && random.chance(50) {
                self.arrive_up(place, len);
                self.arrive_down(place, len);
            }
        }
        self.coverage.fault(fault);
        let line = &mut self.lines[place];
        line.up.transit.clear();
        line.down.transit.clear();
        let broker_first = random.chance(50);
        if broker_first {
            self.broker_loses(place);
        }
        self.client_loses(place);
        self.broker_loses(place);
    }

    pub(super) fn half_open(&mut self, random: &mut Random, client_goes: bool) {
        if self.lines.is_empty() {
            return;
        }
        let place = random.below(self.lines.len());
        let line = &mut self.lines[place];
        if random.chance(50) {
            line.up.transit.clear();
            line.down.transit.clear();
        }
        if client_goes && !line.client_gone {
            self.coverage.fault(Fault::HalfOpenClient);
            self.client_loses(place);
        } else if !client_goes && !line.broker_gone {
            self.coverage.fault(Fault::HalfOpenBroker);
            self.broker_loses(place);
        }
    }

    pub(super) fn delay(&mut self, random: &mut Random) {
        if self.lines.is_empty() {
            return;
        }
        let place = random.below(self.lines.len());
        let until = self.now + Duration::from_millis(random.next() % 8_000);
        let line = &mut self.lines[place];
        let half = match random.chance(50) {
            true => &mut line.up,
            false => &mut line.down,
        };
        half.not_before = until;
        self.coverage.fault(Fault::Delay);
    }

    /// The next program of a client may take smaller packets than this one, or larger ones. Answers which
    /// client it is: one that may have got a QoS 2 message, if there is one.
    pub(super) fn change_limits_of_client(&mut self, client: usize) -> usize {
        if !self.plan.changes_limits {
            return client;
        }
        let mut flights = self.flights.iter();
        let client = flights.position(Flights::has_unreceived).unwrap_or(client);
        let size_max = &mut self.actors[client].plan.config.packet_size_max;
        *size_max = if *size_max == SMALL { LARGE } else { SMALL };
        client
    }

    /// The same of the broker that is looked at.
    pub(super) fn change_limits_of_broker(&mut self) {
        if self.plan.changes_limits {
            let size_max = &mut self.nodes[self.at].config.server.packet_size_max;
            // Every CONNECT is smaller.
            *size_max = if *size_max == 2 * SMALL {
                LARGE
            } else {
                2 * SMALL
            };
        }
    }

    pub(super) fn crash_client(&mut self, client: usize, without_warning: bool) {
        if let Some(place) = self.line_of(client) {
            self.client_loses(place);
        }
        let (now, actor) = (self.now, &mut self.actors[client]);
        if without_warning {
            let fault = match actor.has_store() {
                true => Fault::CrashClient,
                false => Fault::CrashClientWithoutStore,
            };
            self.coverage.fault(fault);
            self.coverage.restores += u64::from(actor.has_store());
            let result = actor.crash(now, &mut self.sessions[client]);
            self.left_unacknowledged(result);
        } else {
            self.coverage.restores += 1;
            // Whoever ends in order stores all of it first.
            let all = actor.behind_len();
            actor.store(all);
            let result = actor.restart(now, &mut self.sessions[client]);
            self.left_unacknowledged(result);
        }
        self.drain_client(client);
    }
}
