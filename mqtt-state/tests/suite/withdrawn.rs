//! A QoS 2 message that was sent and cannot be sent again, as its receiver takes less than before: it
//! is lost, and its identifier stays in use until the receiver has let go of it.

use core::num::NonZeroU32;
use core::time::Duration;

use mqtt_codec::{
    Ack, ConnAck, Connect, MaximumQoS, Message, Packet, QoS, ReleaseReason, SubscribeFilter,
};
use mqtt_state::broker;
use mqtt_state::client::{Config, Event, LostCause, PublishToken};
use mqtt_state::server::{self, Acceptance, Session};
use mqtt_state::session::{JournalEntry, SessionSnapshot};

use crate::disk::Disk;
use crate::recorded::{Broker, Client, Connection};
use crate::wire::{Peer, V5_0, connack, id, pubcomp, pubrec, text, want, with_subscribe};
use crate::world::World;

/// More than rest before the first identifier is used again.
const MANY: usize = 20;

fn large() -> Message {
    let message = Message::new("t", "x".repeat(40)).unwrap();
    message.with_qos(QoS::ExactlyOnce).with_retain(true)
}

fn small() -> Message {
    Message::new("t", "small")
        .unwrap()
        .with_qos(QoS::AtLeastOnce)
}

fn keeping() -> Connect<'static> {
    let mut connect = Connect::new(V5_0, text("c"));
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(u32::MAX);
    connect
}

/// What a server takes that takes less than before.
fn less() -> [(LostCause, ConnAck<'static>); 3] {
    let with = |change: fn(&mut ConnAck<'static>)| {
        let mut connack = connack(true);
        change(&mut connack);
        connack
    };
    [
        (
            LostCause::TooLarge,
            with(|it| it.properties.packet_size_max = NonZeroU32::new(30)),
        ),
        (
            LostCause::QoSNotSupported,
            with(|it| it.properties.maximum_qos = Some(MaximumQoS::AtLeastOnce)),
        ),
        (
            LostCause::RetainNotSupported,
            with(|it| it.properties.retain_available = Some(false)),
        ),
    ]
}

fn events(client: &mut Client) -> Vec<Event> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

/// The tokens of those that were told lost.
fn lost(client: &mut Client) -> Vec<PublishToken> {
    let lost = events(client).into_iter().filter_map(|event| match event {
        Event::PublishLost { token, .. } => Some(token),
        _ => None,
    });
    lost.collect()
}

fn entries(client: &mut Client) -> Vec<JournalEntry> {
    core::iter::from_fn(|| client.poll_journal()).collect()
}

/// Stores all there is.
fn store(client: &mut Client, disk: &mut SessionSnapshot) {
    for entry in entries(client) {
        let position = entry.position();
        disk.apply(entry);
        client.handle_stored(position);
    }
}

/// A client that has sent one message, which is not acknowledged, and has lost its connection.
fn with_one_in_flight(peer: &Peer) -> (Client, PublishToken) {
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &keeping()).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let token = client.publish(peer.now, large()).unwrap();
    assert!(peer.hear(&mut client)[0].starts_with("PUBLISH"));
    client.handle_close(peer.now);
    events(&mut client);
    (client, token)
}

/// The client is back at a server that answers so. Answers what it says then.
fn come_back(client: &mut Client, peer: &Peer, connack: ConnAck<'_>) -> Vec<String> {
    client.connect(peer.now, &keeping()).unwrap();
    peer.hear(client);
    peer.ask(client, connack)
}

#[test]
fn a_client_finishes_with_pubrel_what_it_gives_up() {
    // Client: [5:MQTT-2.2.1-4] [5:MQTT-4.3.3-4]
    let not_found = Ack::new(id(1), ReleaseReason::PacketIdNotFound);
    for (cause, answer) in less() {
        for last in [pubcomp(1), Packet::PubComp(not_found)] {
            let row = format!("{cause:?}, {last:?}");
            let peer = Peer::new(V5_0);
            let (mut client, token) = with_one_in_flight(&peer);
            assert_eq!(
                come_back(&mut client, &peer, answer),
                ["PUBREL 1 00"],
                "{row}"
            );
            let told = events(&mut client);
            let expected = Event::PublishLost {
                token,
                message: Some(large()),
                cause,
            };
            assert_eq!(told.last(), Some(&expected), "{row}");
            assert_eq!(client.open_publishes().count(), 0, "{row}: all is told");
            assert_eq!((client.in_flight_len(), client.waiting_len()), (1, 0));

            // A receiver that says PUBREC again, or for the first time, hears the same.
            assert_eq!(peer.ask(&mut client, pubrec(1)), ["PUBREL 1 00"], "{row}");

            // It comes again on the next connection, too, where more is taken than before.
            client.handle_close(peer.now);
            let again = come_back(&mut client, &peer, connack(true));
            assert_eq!(again, ["PUBREL 1 00"], "{row}");

            // Others go on, and have other identifiers.
            for _ in 0..MANY {
                client.publish(peer.now, small()).unwrap();
                let heard = peer.hear(&mut client).remove(0);
                let used = heard.rsplit("id").next().unwrap();
                assert_ne!(used, "1", "{row}: {heard}");
                peer.say(&mut client, crate::wire::puback(used.parse().unwrap()));
            }
            events(&mut client);
            assert_eq!(peer.ask(&mut client, last), [""; 0], "{row}");
            assert_eq!(events(&mut client), [], "{row}: it was told before");
            assert_eq!(client.in_flight_len(), 0, "{row}");
            // Now it is free.
            client.publish(peer.now, small()).unwrap();
            client.handle_close(peer.now);
        }
    }
}

#[test]
fn what_was_never_sent_leaves_nothing_behind() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    let token = client.publish(peer.now, large()).unwrap();
    let (_, answer) = less()[0];
    let answer = ConnAck {
        properties: answer.properties,
        ..connack(false)
    };
    assert_eq!(come_back(&mut client, &peer, answer), [""; 0]);
    assert_eq!(lost(&mut client), [token]);
    assert_eq!(client.in_flight_len(), 0);
}

/// A receiver of QoS 1 remembers no identifier.
#[test]
fn at_qos_1_nothing_is_left_either() {
    let peer = Peer::new(V5_0);
    let mut client = Client::new(Config::default());
    client.connect(peer.now, &keeping()).unwrap();
    peer.hear(&mut client);
    peer.say(&mut client, connack(false));
    let message = large().with_qos(QoS::AtLeastOnce);
    let token = client.publish(peer.now, message).unwrap();
    peer.hear(&mut client);
    client.handle_close(peer.now);
    let (_, answer) = less()[0];
    assert_eq!(come_back(&mut client, &peer, answer), [""; 0]);
    assert_eq!(lost(&mut client), [token]);
    assert_eq!(client.in_flight_len(), 0);
}

#[test]
fn a_session_that_ends_tells_of_it_no_second_time() {
    let peer = Peer::new(V5_0);
    let (mut client, token) = with_one_in_flight(&peer);
    let (_, answer) = less()[0];
    come_back(&mut client, &peer, answer);
    assert_eq!(lost(&mut client), [token]);
    client.handle_close(peer.now);
    assert_eq!(come_back(&mut client, &peer, connack(false)), [""; 0]);
    assert_eq!(lost(&mut client), []);
    assert_eq!(client.in_flight_len(), 0);
}

#[test]
fn a_program_that_begins_again_knows_of_it() {
    let peer = Peer::new(V5_0);
    let (mut client, token) = with_one_in_flight(&peer);
    let (_, answer) = less()[0];
    come_back(&mut client, &peer, answer);
    assert_eq!(lost(&mut client), [token]);

    let written = serde_json::to_string(&client.snapshot(peer.now)).unwrap();
    let read: SessionSnapshot = serde_json::from_str(&written).unwrap();
    let config = Config::default();
    let mut client = Client::restore(peer.now, Duration::ZERO, config, read).unwrap();
    assert_eq!(client.open_publishes().count(), 0);
    let again = come_back(&mut client, &peer, connack(true));
    assert_eq!(again, ["PUBREL 1 00"]);
    events(&mut client);
    peer.say(&mut client, pubcomp(1));
    assert_eq!((events(&mut client), client.in_flight_len()), (vec![], 0));

    // What was written before there was such a thing can be read.
    let older = written.replace(",\"was_told\":true", "");
    assert_ne!(older, written);
    let read: SessionSnapshot = serde_json::from_str(&older).unwrap();
    let config = Config::default();
    let client = Client::restore(peer.now, Duration::ZERO, config, read).unwrap();
    assert_eq!(client.open_publishes().count(), 1);
}

/// Ends the program before and after: what its store says is what the next one does.
#[test]
fn with_a_store_pubrel_waits_until_it_is_stored_that_the_message_is_gone() {
    let config = Config {
        journal: true,
        ..Config::default()
    };
    for crashes_before in [true, false] {
        let peer = Peer::new(V5_0);
        let mut client = Client::new(config.clone());
        let mut disk = client.snapshot(peer.now);
        client.connect(peer.now, &keeping()).unwrap();
        store(&mut client, &mut disk);
        peer.hear(&mut client);
        peer.say(&mut client, connack(false));
        let token = client.publish(peer.now, large()).unwrap();
        peer.hear(&mut client);
        store(&mut client, &mut disk);
        assert!(peer.hear(&mut client)[0].starts_with("PUBLISH"));
        client.handle_close(peer.now);
        store(&mut client, &mut disk);

        let (_, answer) = less()[0];
        client.connect(peer.now, &keeping()).unwrap();
        store(&mut client, &mut disk);
        peer.hear(&mut client);
        assert_eq!(peer.ask(&mut client, answer), [""; 0], "not stored");
        assert_eq!(lost(&mut client), [token]);
        if !crashes_before {
            store(&mut client, &mut disk);
            assert_eq!(peer.hear(&mut client), ["PUBREL 1 00"]);
            // In the store it is as the client has it.
            assert_eq!(client.snapshot(peer.now), disk);
        }

        let restored = disk.clone();
        let mut client =
            Client::restore(peer.now, Duration::ZERO, config.clone(), restored).unwrap();
        client.connect(peer.now, &keeping()).unwrap();
        store(&mut client, &mut disk);
        peer.hear(&mut client);
        peer.say(&mut client, connack(true));
        peer.hear(&mut client);
        store(&mut client, &mut disk);
        let heard = peer.hear(&mut client);
        let open: Vec<_> = client.open_publishes().map(|(token, _)| token).collect();
        if crashes_before {
            // Nothing has happened: it is sent again, where that can be.
            assert!(heard.is_empty() || heard[0].starts_with("PUBLISH"));
            assert_eq!(open, [token]);
            continue;
        }
        assert_eq!(open, []);
        events(&mut client);
        peer.say(&mut client, pubcomp(1));
        store(&mut client, &mut disk);
        assert_eq!((events(&mut client), client.in_flight_len()), (vec![], 0));
        let client = Client::restore(peer.now, Duration::ZERO, config.clone(), disk).unwrap();
        assert_eq!(client.in_flight_len(), 0, "the store knows that as well");
    }
}

fn take(
    peer: &Peer,
    session: Option<Session>,
    packet_size_max: Option<u32>,
) -> (Connection, Vec<String>) {
    let mut connection = Connection::new(peer.now, server::Config::default());
    let mut connect = keeping();
    connect.properties.packet_size_max = packet_size_max.and_then(NonZeroU32::new);
    peer.say(&mut connection, connect);
    let acceptance = Acceptance {
        session: Some(session.unwrap_or_default()),
        ..Acceptance::default()
    };
    connection.accept(peer.now, acceptance).unwrap();
    let heard = peer.hear(&mut connection);
    (connection, heard)
}

#[test]
fn a_server_connection_finishes_with_pubrel_what_it_gives_up() {
    // Server: [5:MQTT-2.2.1-4] [5:MQTT-4.3.3-4]
    let peer = Peer::new(V5_0);
    let (mut connection, _) = take(&peer, None, None);
    let token = connection.deliver(peer.now, large()).unwrap();
    assert_eq!(peer.hear(&mut connection).len(), 1);
    connection.handle_close(peer.now);

    let (mut connection, heard) = take(&peer, connection.into_session(), Some(30));
    assert_eq!(heard, ["CONNACK 00 present", "PUBREL 1 00"]);
    let told: Vec<_> = core::iter::from_fn(|| connection.poll_event()).collect();
    let dropped = server::Event::DeliveryDropped {
        token,
        message: large(),
        cause: server::DropCause::TooLarge,
    };
    assert_eq!(told.last(), Some(&dropped));
    connection.handle_close(peer.now);

    let session = connection.into_session().unwrap();
    assert_eq!((session.in_flight_len(), session.messages_bytes()), (1, 0));
    assert_eq!(session.open_deliveries().count(), 0);
    let stored = session.snapshot(peer.now);
    let config = server::Config::default();
    let session = Session::restore(peer.now, Duration::ZERO, &config, stored).unwrap();
    assert_eq!(session.open_deliveries().count(), 0);
    let (mut connection, heard) = take(&peer, Some(session), None);
    assert_eq!(heard, ["CONNACK 00 present", "PUBREL 1 00"]);
    while connection.poll_event().is_some() {}
    peer.say(&mut connection, pubcomp(1));
    assert_eq!(connection.poll_event(), None);
    assert_eq!(connection.session().in_flight_len(), 0);
}

/// A broker's, with a store that it begins again from and without one.
#[test]
fn a_broker_finishes_with_pubrel_what_it_gives_up() {
    for journal in [false, true] {
        let config = broker::Config {
            journal,
            ..broker::Config::default()
        };
        let (mut broker, mut disk) = (Broker::new(config.clone()), Disk::default());
        let peer = Peer::new(V5_0);
        let come = |broker: &mut Broker, disk: &mut Disk, packet_size_max| {
            let connection = broker.accept(peer.now, broker::Peer::default()).unwrap();
            let mut connect = keeping();
            connect.properties.packet_size_max = NonZeroU32::new(packet_size_max);
            peer.say(&mut (&mut *broker, connection), connect);
            disk.flush(broker);
            let heard = peer.hear(&mut (&mut *broker, connection));
            (connection, heard)
        };
        let (connection, _) = come(&mut broker, &mut disk, 10_000);
        with_subscribe(9, &[want("t", QoS::ExactlyOnce)], |packet| {
            peer.say(&mut (&mut broker, connection), packet);
        });
        broker.publish(peer.now, large());
        disk.flush(&mut broker);
        peer.hear(&mut (&mut broker, connection));
        disk.flush(&mut broker);
        peer.hear(&mut (&mut broker, connection));
        broker.handle_close(peer.now, connection);
        while broker.poll_event().is_some() {}

        let (connection, mut heard) = come(&mut broker, &mut disk, 30);
        if journal {
            assert_eq!(heard, ["CONNACK 00 present"], "not stored");
            disk.flush(&mut broker);
            heard.extend(peer.hear(&mut (&mut broker, connection)));
        }
        assert_eq!(heard, ["CONNACK 00 present", "PUBREL 1 00"], "{journal}");
        let told = core::iter::from_fn(|| broker.poll_event());
        let dropped = told.filter(|event| matches!(event, broker::Event::Dropped { .. }));
        assert_eq!(dropped.count(), 1, "{journal}");

        if journal {
            // The program ends here.
            broker = disk.restore(config, peer.now, Duration::ZERO);
        } else {
            broker.handle_close(peer.now, connection);
        }
        assert_eq!(broker.session("c").unwrap().in_flight_len, 1, "{journal}");
        let (connection, heard) = come(&mut broker, &mut disk, 10_000);
        assert_eq!(heard, ["CONNACK 00 present", "PUBREL 1 00"], "{journal}");
        peer.say(&mut (&mut broker, connection), pubcomp(1));
        disk.flush(&mut broker);
        assert_eq!(broker.session("c").unwrap().in_flight_len, 0, "{journal}");
        if journal {
            // The session and its subscription: neither a message nor a delivery is left.
            assert_eq!(disk.counts()[4], 0);
        }
    }
}

/// What this is about: the broker holds the identifier of a message that its publisher gives up, and
/// takes none that follows for a repetition of that.
#[test]
fn no_later_message_is_taken_for_one_that_was_given_up() {
    let mut world = World::with(broker::Config {
        journal: true,
        ..broker::Config::default()
    });
    let reader = world.client("reader");
    world.resume(reader, V5_0);
    let filter: &[SubscribeFilter<'_>] = &[want("t", QoS::ExactlyOnce)];
    world.subscribe(reader, filter);
    let writer = world.client("writer");
    world.resume(writer, V5_0);
    world.events(reader);
    world.send(writer, large());
    // The broker has it, and says so to nobody.
    world.settle_for(1);
    world.config.server.packet_size_max = 40;
    world.crash(Duration::from_secs(1));
    world.resume(writer, V5_0);
    world.resume(reader, V5_0);
    world.got(reader);
    let names: Vec<_> = (0..2 * MANY).map(|number| number.to_string()).collect();
    for name in &names {
        world.publish(writer, "t", name, QoS::ExactlyOnce);
        world.settle();
    }
    let expected: Vec<_> = names.iter().map(|name| format!("t={name} q2")).collect();
    assert_eq!(world.got(reader), expected);
    assert_eq!(world.of(writer).in_flight_len(), 0);
}
