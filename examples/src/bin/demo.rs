//! The story of MQTT without a socket: two clients and a broker in one process exchange real bytes
//! through memory, and every packet is printed.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mqtt_codec::{
    Ack, Binary, ConnAckOutcome, Connect, Frame, Message, Packet, Parsed, ProtocolVersion, Publish,
    QoS, ReasonCode, Str, SubscribeFilter, TopicName, Will,
};
use mqtt_state::broker::{self, Broker, ConnectionId, Peer};
use mqtt_state::client::{self, Client, Event};
use mqtt_state::{Timestamp, Transmit};

/// Watch two MQTT clients and a broker talk, packet by packet.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Version of MQTT
    #[arg(long, value_enum, default_value = "5")]
    protocol: Protocol,
    /// Show the bytes of every packet too
    #[arg(long)]
    bytes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    #[value(name = "5")]
    V5,
    #[value(name = "311")]
    V3,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match story(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mqtt_examples::log!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A broker, two clients, and the memory between them.
struct Stage {
    version: ProtocolVersion,
    show_bytes: bool,
    now: Timestamp,
    broker: Broker,
    clients: [Actor; 2],
}

struct Actor {
    name: &'static str,
    client: Client,
    connection: Option<ConnectionId>,
}

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

fn story(options: &Options) -> anyhow::Result<()> {
    let version = match options.protocol {
        Protocol::V5 => ProtocolVersion::V5_0,
        Protocol::V3 => ProtocolVersion::V3_1_1,
    };
    let actor = |name| Actor {
        name,
        client: Client::new(client::Config::default()),
        connection: None,
    };
    let mut stage = Stage {
        version,
        show_bytes: options.bytes,
        now: Timestamp::ZERO,
        broker: Broker::new(broker::Config::default()),
        clients: [actor("publisher-1"), actor("subscriber-1")],
    };

    title(
        "Both clients connect. The publisher leaves a will: a message for the case that it disappears.",
    );
    let will = Will::new(
        TopicName::new("home/publisher-1/status")?,
        Binary::new(b"gone")?,
    );
    stage.connect(SUBSCRIBER, None)?;
    stage.connect(PUBLISHER, Some(will))?;

    title(
        "The subscriber asks for the temperature of every room, with `+` for any one level, and for the status.",
    );
    let filters = [
        SubscribeFilter::new("home/+/temperature", QoS::ExactlyOnce)?,
        SubscribeFilter::new("home/publisher-1/status", QoS::AtLeastOnce)?,
    ];
    stage.client(SUBSCRIBER).subscribe(&filters)?;
    stage.run();

    title("A message at QoS 0: sent once, never answered.");
    stage.publish("home/kitchen/temperature", "21.5", QoS::AtMostOnce)?;

    title(
        "A message at QoS 1: repeated until PUBACK comes. The broker delivers it at QoS 1 as well.",
    );
    stage.publish("home/bedroom/temperature", "18.0", QoS::AtLeastOnce)?;

    title(
        "A message at QoS 2: PUBLISH, PUBREC, PUBREL, PUBCOMP. Nobody gets it twice, whatever is lost between.",
    );
    stage.publish("home/study-room/temperature", "19.5", QoS::ExactlyOnce)?;

    title("A topic that no filter matches: `home/+/temperature` has three levels, this has four.");
    stage.publish("home/kitchen/oven/temperature", "180", QoS::AtLeastOnce)?;

    title("A minute of silence. The clients have promised a sign of life every 60 seconds.");
    stage.wait(Duration::from_secs(60));

    title(
        "The connection of the publisher breaks, without a goodbye. The broker publishes its will.",
    );
    stage.cut(PUBLISHER);

    title(
        "The subscriber says goodbye. With that its own will, had it left one, would be forgotten.",
    );
    let now = stage.now;
    stage
        .client(SUBSCRIBER)
        .disconnect(now, mqtt_codec::DisconnectReason::NormalDisconnection)?;
    stage.run();
    Ok(())
}

impl Stage {
    fn actor(&mut self, who: usize) -> &mut Actor {
        let [publisher, subscriber] = &mut self.clients;
        if who == PUBLISHER {
            publisher
        } else {
            subscriber
        }
    }

    fn client(&mut self, who: usize) -> &mut Client {
        &mut self.actor(who).client
    }

    fn connect(&mut self, who: usize, will: Option<Will<'_>>) -> anyhow::Result<()> {
        let (version, now) = (self.version, self.now);
        let connection = self.broker.accept(now, Peer::default())?;
        let actor = self.actor(who);
        actor.connection = Some(connection);
        let connect = Connect {
            will,
            ..Connect::new(version, Str::new(actor.name)?)
        };
        actor.client.connect(now, &connect)?;
        self.run();
        Ok(())
    }

    fn publish(&mut self, topic: &str, payload: &'static str, qos: QoS) -> anyhow::Result<()> {
        let (now, message) = (self.now, Message::new(topic, payload)?.with_qos(qos));
        self.client(PUBLISHER).publish(now, message)?;
        self.run();
        Ok(())
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.broker.handle_timeout(self.now);
        for actor in &mut self.clients {
            actor.client.handle_timeout(self.now);
        }
        self.run();
    }

    fn cut(&mut self, who: usize) {
        let now = self.now;
        let actor = self.actor(who);
        mqtt_examples::out!(
            "  {:>12} --x                   the connection is gone",
            actor.name
        );
        actor.client.handle_close(now);
        if let Some(connection) = actor.connection.take() {
            self.broker.handle_close(now, connection);
        }
        self.run();
    }

    /// Carries bytes to and fro until everybody is silent. This is the whole of a driver, but for
    /// the sockets.
    fn run(&mut self) {
        loop {
            let mut silent = true;
            for actor in &mut self.clients {
                let mut up = Vec::new();
                while actor.client.poll_transmit(self.now, 4096, &mut up) == Transmit::More {}
                let Some(connection) = actor.connection else {
                    continue;
                };
                silent &= up.is_empty();
                narrate(
                    &up,
                    self.version,
                    self.show_bytes,
                    actor.name,
                    "-->",
                    "broker",
                );
                let _whole_packets = self.broker.handle_input(self.now, connection, &up);
            }
            while let Some(ready) = self.broker.poll_ready() {
                let mut down = Vec::new();
                while self.broker.poll_transmit(self.now, ready, 4096, &mut down) == Transmit::More
                {
                }
                for actor in self
                    .clients
                    .iter_mut()
                    .filter(|actor| actor.connection == Some(ready))
                {
                    silent &= down.is_empty();
                    narrate(
                        &down,
                        self.version,
                        self.show_bytes,
                        actor.name,
                        "<--",
                        "broker",
                    );
                    let _whole_packets = actor.client.handle_input(self.now, &down);
                }
            }
            for actor in &mut self.clients {
                while let Some(event) = actor.client.poll_event() {
                    tell(actor.name, &event);
                }
            }
            while self.broker.poll_event().is_some() {}
            if silent {
                return;
            }
        }
    }
}

fn title(text: &str) {
    mqtt_examples::out!("\n{text}");
}

/// Prints every packet in some bytes.
fn narrate(
    mut bytes: &[u8],
    version: ProtocolVersion,
    show_bytes: bool,
    from: &str,
    arrow: &str,
    to: &str,
) {
    while let Ok(Parsed::Complete(frame)) = Frame::parse(bytes, Some(version), u32::MAX) {
        let (packet, rest) = bytes.split_at(frame.size());
        bytes = rest;
        match frame.decode(version) {
            Ok(decoded) => mqtt_examples::out!(
                "  {from:>12} {arrow} {to}  {:<11} {}",
                decoded.packet_type(),
                describe(&decoded)
            ),
            Err(error) => mqtt_examples::out!("  {from:>12} {arrow} {to}  {error}"),
        }
        if show_bytes {
            let hex: Vec<_> = packet.iter().map(|byte| format!("{byte:02x}")).collect();
            mqtt_examples::out!("{:>34}{}", "", hex.join(" "));
        }
    }
}

/// The content of a packet in words.
fn describe(packet: &Packet<'_>) -> String {
    let ack = |id: u16, reason: ReasonCode| format!("packet {id}: {reason}");
    match packet {
        Packet::Connect(connect) => {
            let will = connect
                .will
                .map_or(String::new(), |will| format!(", will to {}", will.topic));
            format!(
                "I am {}, MQTT {}, keep alive {} s{will}",
                connect.client_id, connect.version, connect.keep_alive_secs
            )
        }
        Packet::ConnAck(connack) => match connack.outcome {
            ConnAckOutcome::Accepted {
                session_present: true,
            } => "welcome back".to_owned(),
            ConnAckOutcome::Accepted {
                session_present: false,
            } => "welcome".to_owned(),
            ConnAckOutcome::Refused(reason) => format!("refused: {reason}"),
        },
        Packet::Publish(publish) => describe_publish(publish),
        Packet::PubAck(Ack { id, reason, .. }) | Packet::PubRec(Ack { id, reason, .. }) => {
            ack(id.get(), ReasonCode::from(*reason))
        }
        Packet::PubRel(Ack { id, reason, .. }) | Packet::PubComp(Ack { id, reason, .. }) => {
            ack(id.get(), ReasonCode::from(*reason))
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe
                .filters
                .iter()
                .map(|entry| format!("{} at QoS {}", entry.filter, entry.options.qos))
                .collect();
            format!("packet {}: {}", subscribe.id, filters.join(", "))
        }
        Packet::SubAck(suback) => {
            let reasons: Vec<_> = suback
                .reasons
                .iter()
                .map(|reason| match reason.granted() {
                    Some(qos) => format!("granted QoS {qos}"),
                    None => reason.to_string(),
                })
                .collect();
            format!("packet {}: {}", suback.id, reasons.join(", "))
        }
        Packet::PingReq => "are you there?".to_owned(),
        Packet::PingResp => "I am".to_owned(),
        Packet::Disconnect(disconnect) => match ReasonCode::from(disconnect.reason) {
            ReasonCode::Success => "goodbye".to_owned(),
            reason => reason.to_string(),
        },
        Packet::Unsubscribe(_) | Packet::UnsubAck(_) | Packet::Auth(_) => String::new(),
    }
}

fn describe_publish(publish: &Publish<'_>) -> String {
    let id = publish
        .delivery
        .id()
        .map_or(String::new(), |id| format!("packet {id}, "));
    let topic = match (publish.topic.name(), publish.topic.alias()) {
        (Some(name), None) => name.to_string(),
        (Some(name), Some(alias)) => format!("{name} (from now on number {})", alias.get()),
        (None, Some(alias)) => format!("topic number {}", alias.get()),
        (None, None) => String::new(),
    };
    let payload = String::from_utf8_lossy(publish.payload);
    format!("{id}QoS {}, {topic}: {payload:?}", publish.delivery.qos())
}

/// Prints what a client tells its application.
fn tell(who: &str, event: &Event) {
    let what = match event {
        Event::Connected { .. } => "connected".to_owned(),
        Event::Message { message, .. } => {
            let payload = String::from_utf8_lossy(message.payload());
            format!(
                "got {payload:?} on {}, QoS {}, retain {}",
                message.topic(),
                message.qos(),
                message.retain()
            )
        }
        Event::Published { reason, .. } => format!("its message is delivered: {reason}"),
        Event::Subscribed { .. } => "subscribed".to_owned(),
        Event::Closed { cause, .. } => format!("closed: {cause}"),
        other => format!("{other:?}"),
    };
    mqtt_examples::out!("  {who:>12}  *  {what}");
}
