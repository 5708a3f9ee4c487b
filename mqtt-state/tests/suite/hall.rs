//! A broker and whoever comes to it, one after another.

use core::time::Duration;

use mqtt_codec::{Connect, Message, Packet, ProtocolVersion, QoS, SubscribeFilter};
use mqtt_state::broker::{
    self, Config, ConnectDecision, ConnectionId, Event, PublishDecision, SubscribeDecision,
};

use crate::recorded::Broker;
use crate::wire::{Peer, V5_0, connect, want, with_subscribe};

pub(crate) struct Hall {
    pub(crate) broker: Broker,
    pub(crate) peer: Peer,
}

impl Hall {
    pub(crate) fn new(version: ProtocolVersion, config: Config) -> Self {
        Self {
            broker: Broker::new(config),
            peer: Peer::new(version),
        }
    }

    /// A broker with so many steps for each call.
    pub(crate) fn sliced(work_per_call: usize) -> Self {
        let config = Config {
            work_per_call,
            ..Config::default()
        };
        Self::new(V5_0, config)
    }

    pub(crate) fn open(&mut self) -> ConnectionId {
        let peer = broker::Peer::default();
        self.broker.accept(self.peer.now, peer).unwrap()
    }

    pub(crate) fn enter(&mut self, packet: Connect<'_>) -> (ConnectionId, Vec<String>) {
        let id = self.open();
        let heard = self.ask(id, packet);
        (id, heard)
    }

    /// Somebody who is in, where connecting is not asked.
    pub(crate) fn joined(&mut self, client_id: &str) -> ConnectionId {
        let (id, heard) = self.enter(connect(self.peer.version, client_id));
        assert_eq!(heard, ["CONNACK 00"]);
        id
    }

    /// Subscribes, and answers what comes of it.
    pub(crate) fn subscribe(&mut self, id: ConnectionId, text: &str, qos: QoS) -> Vec<String> {
        self.want(id, &[want(text, qos)])
    }

    /// The same with several filters, or other options.
    pub(crate) fn want(
        &mut self,
        id: ConnectionId,
        filters: &[SubscribeFilter<'_>],
    ) -> Vec<String> {
        let Self { broker, peer } = self;
        with_subscribe(1, filters, |packet| peer.ask(&mut (broker, id), packet))
    }

    pub(crate) fn say<'p>(&mut self, to: ConnectionId, packet: impl Into<Packet<'p>>) {
        self.peer.say(&mut (&mut self.broker, to), packet);
    }

    pub(crate) fn hear(&mut self, from: ConnectionId) -> Vec<String> {
        self.peer.hear(&mut (&mut self.broker, from))
    }

    pub(crate) fn ask<'p>(
        &mut self,
        to: ConnectionId,
        packet: impl Into<Packet<'p>>,
    ) -> Vec<String> {
        self.say(to, packet);
        self.hear(to)
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.broker.poll_event()).collect()
    }

    pub(crate) fn connects(&mut self) -> Vec<ConnectDecision> {
        { self.events().into_iter() }
            .filter_map(|event| match event {
                Event::Authenticate { decision, .. } | Event::AuthenticateStep { decision, .. } => {
                    Some(decision)
                }
                _ => None,
            })
            .collect()
    }

    pub(crate) fn publishes(&mut self) -> Vec<PublishDecision> {
        { self.events().into_iter() }
            .filter_map(|event| match event {
                Event::AuthorizePublish { decision, .. } => Some(decision),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn subscribes(&mut self) -> Vec<SubscribeDecision> {
        { self.events().into_iter() }
            .filter_map(|event| match event {
                Event::AuthorizeSubscribe { decision, .. } => Some(decision),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn pass(&mut self, secs: u64) {
        self.peer.now = self.peer.now + Duration::from_secs(secs);
        self.broker.handle_timeout(self.peer.now);
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &'static str, qos: QoS) {
        let message = Message::new(topic, payload).unwrap().with_qos(qos);
        self.broker.publish(self.peer.now, message);
    }
}
