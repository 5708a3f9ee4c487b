//! The three ways of driving a client, with both drivers, against our broker.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mqtt_codec::{Message, ProtocolVersion, QoS, SubscribeFilter, TopicFilter};
use mqtt_examples::drive::{Machine, blocking, tokio as on_tokio};
use mqtt_examples::settings::Settings;
use mqtt_state::Timestamp;
use mqtt_state::client::{Client, Config, Event};

use support::{OurBroker, PATIENCE, file, folder};

fn settings(broker: &OurBroker, version: ProtocolVersion, name: &str) -> Settings {
    Settings::new(broker.address(), version, name)
}

/// The introduction of every tutorial as a reaction to events: subscribe, publish, unsubscribe,
/// disconnect. Answers the name of each event, as people know them from elsewhere.
fn react(client: &mut Machine, now: Timestamp, event: &Event) -> &'static str {
    let filter = "house/light";
    match event {
        Event::Connected { .. } => {
            client
                .subscribe(&[SubscribeFilter::new(filter, QoS::AtLeastOnce).unwrap()])
                .unwrap();
            "on_connect"
        }
        Event::Subscribed { .. } => {
            client
                .publish(
                    now,
                    Message::new(filter, "on")
                        .unwrap()
                        .with_qos(QoS::AtLeastOnce),
                )
                .unwrap();
            "on_subscribe"
        }
        Event::Published { .. } => "on_publish",
        Event::Message { message, .. } => {
            assert_eq!(
                (message.topic().as_str(), message.payload()),
                (filter, &b"on"[..])
            );
            client
                .unsubscribe(&[TopicFilter::new(filter).unwrap()])
                .unwrap();
            "on_message"
        }
        Event::Unsubscribed { .. } => "on_unsubscribe",
        Event::Closed { .. } => "on_disconnect",
        other => panic!("unexpected: {other:?}"),
    }
}

const ALL_BUT_THE_LAST: [&str; 5] = [
    "on_connect",
    "on_message",
    "on_publish",
    "on_subscribe",
    "on_unsubscribe",
];

fn sorted(mut names: Vec<&'static str>) -> Vec<&'static str> {
    names.sort_unstable();
    names
}

#[test]
fn blocking_one_step_at_a_time() {
    let broker = OurBroker::start();
    for version in [ProtocolVersion::V5_0, ProtocolVersion::V3_1_1] {
        let mut driver = blocking::Driver::new(
            Client::new(Config::default()),
            settings(&broker, version, "stepper"),
        );
        driver.open().unwrap();
        let mut names = Vec::new();
        while names.last() != Some(&"on_unsubscribe") {
            assert!(driver.step(PATIENCE), "the connection stays: {names:?}");
            while let Some(event) = driver.client.poll_event() {
                let now = driver.now();
                names.push(react(&mut driver.client, now, &event));
            }
        }
        assert_eq!(sorted(names), ALL_BUT_THE_LAST);
        driver.close();
        assert!(matches!(
            driver.client.poll_event(),
            Some(Event::Closed { .. })
        ));
    }
}

#[test]
fn blocking_for_ever_comes_back_after_the_broker_is_gone() {
    let broker = OurBroker::start();
    let address = broker.address();
    let mut broker = Some(broker);
    let mut driver = blocking::Driver::new(
        Client::new(Config::default()),
        Settings::new(address.clone(), ProtocolVersion::V5_0, "returner"),
    );
    let (mut connected, mut closed) = (0, 0);
    let mut second = None;
    driver.run_forever(|_, event| {
        match event {
            Event::Connected { .. } => {
                connected += 1;
                // Gone without a goodbye, and back on the same port.
                if let Some(first) = broker.take() {
                    first.program.kill();
                    second = Some(support::Program::start(
                        env!("CARGO_BIN_EXE_broker"),
                        &["--bind", &address],
                    ));
                }
            }
            Event::Closed { .. } => closed += 1,
            _ => {}
        }
        if connected == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((connected, closed), (2, 1));
}

#[test]
fn blocking_in_the_background() {
    let broker = OurBroker::start();
    let driver = blocking::Driver::new(
        Client::new(Config::default()),
        settings(&broker, ProtocolVersion::V5_0, "background"),
    );
    let (sender, events) = mpsc::channel();
    let background = driver.spawn(move |_, event| sender.send(event).unwrap());
    let mut names = Vec::new();
    while names.last() != Some(&"on_unsubscribe") {
        let event = events.recv_timeout(PATIENCE).expect("an event");
        let (reply, name) = mpsc::channel();
        assert!(
            background.call(move |client, now| reply.send(react(client, now, &event)).unwrap())
        );
        names.push(name.recv_timeout(PATIENCE).expect("the command runs"));
    }
    assert_eq!(sorted(names), ALL_BUT_THE_LAST);
    background.stop();
    assert!(matches!(
        events.recv_timeout(PATIENCE),
        Ok(Event::Closed { .. })
    ));
}

#[tokio::test]
async fn tokio_one_event_at_a_time() {
    let broker = OurBroker::start();
    for version in [ProtocolVersion::V5_0, ProtocolVersion::V3_1_1] {
        let mut driver = on_tokio::Driver::new(
            Client::new(Config::default()),
            settings(&broker, version, "stepper"),
        );
        driver.open().await.unwrap();
        let mut names = Vec::new();
        while names.last() != Some(&"on_unsubscribe") {
            let event = driver.next_event().await.expect("the connection stays");
            let now = driver.now();
            names.push(react(&mut driver.client, now, &event));
        }
        assert_eq!(sorted(names), ALL_BUT_THE_LAST);
        driver.close().await;
        assert!(matches!(
            driver.client.poll_event(),
            Some(Event::Closed { .. })
        ));
    }
}

#[tokio::test]
async fn tokio_for_ever_comes_back_after_the_broker_is_gone() {
    let broker = OurBroker::start();
    let address = broker.address();
    let mut broker = Some(broker);
    let mut driver = on_tokio::Driver::new(
        Client::new(Config::default()),
        Settings::new(address.clone(), ProtocolVersion::V5_0, "returner"),
    );
    let (mut connected, mut closed) = (0, 0);
    let mut second = None;
    driver
        .run_forever(|_, event| {
            match event {
                Event::Connected { .. } => {
                    connected += 1;
                    if let Some(first) = broker.take() {
                        first.program.kill();
                        second = Some(support::Program::start(
                            env!("CARGO_BIN_EXE_broker"),
                            &["--bind", &address],
                        ));
                    }
                }
                Event::Closed { .. } => closed += 1,
                _ => {}
            }
            if connected == 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
    assert_eq!((connected, closed), (2, 1));
}

#[tokio::test]
async fn tokio_in_the_background() {
    let broker = OurBroker::start();
    let driver = on_tokio::Driver::new(
        Client::new(Config::default()),
        settings(&broker, ProtocolVersion::V5_0, "background"),
    );
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let background = driver.spawn(move |_, event| sender.send(event).unwrap());
    let mut names = Vec::new();
    while names.last() != Some(&"on_unsubscribe") {
        let event = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .unwrap()
            .expect("an event");
        let (reply, name) = tokio::sync::oneshot::channel();
        assert!(
            background
                .call(move |client, now| reply.send(react(client, now, &event)).unwrap())
                .await
        );
        names.push(name.await.expect("the command runs"));
    }
    assert_eq!(sorted(names), ALL_BUT_THE_LAST);
    background.stop().await;
    assert!(matches!(events.recv().await, Some(Event::Closed { .. })));
}

#[test]
fn an_idle_client_stays_connected_through_its_keep_alive() {
    let broker = OurBroker::start();
    let mut driver = blocking::Driver::new(
        Client::new(Config::default()),
        Settings {
            keep_alive_secs: 1,
            ..settings(&broker, ProtocolVersion::V5_0, "idle")
        },
    );
    driver.open().unwrap();
    // Three intervals: the broker would have closed after one and a half.
    let until = driver.now() + Duration::from_secs(3);
    while driver.now() < until {
        assert!(driver.step(Duration::from_secs(1)), "the connection stays");
        while let Some(event) = driver.client.poll_event() {
            assert!(matches!(event, Event::Connected { .. }), "{event:?}");
        }
    }
}

/// A server that says much at once, and then nothing until the last of it is acknowledged.
fn eager_server() -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        // Less than the client waits for one step.
        client.set_read_timeout(Some(PATIENCE / 3)).unwrap();
        let mut some = [0; 1024];
        assert!(client.read(&mut some).unwrap() > 0, "CONNECT");
        let messages = b"\x30\x03\x00\x01t".repeat(50);
        let last = b"\x32\x05\x00\x01t\x00\x01";
        client
            .write_all(&[b"\x20\x02\0\0", &messages[..], last].concat())
            .unwrap();
        let mut acknowledgement = [0; 4];
        client.read_exact(&mut acknowledgement).unwrap();
        assert_eq!(acknowledgement, *b"\x40\x02\x00\x01");
    });
    (address, server)
}

/// What a client has no room for waits until there is room, and not until more comes behind it.
#[test]
fn more_than_there_is_room_for_comes_in_turn() {
    let config = Config {
        events_max: 10,
        ..Config::default()
    };
    let version = ProtocolVersion::V3_1_1;
    let is_message = |event: &Event| matches!(event, Event::Message { .. });

    let (address, server) = eager_server();
    let settings = Settings::new(address, version, "stepper");
    let mut driver = blocking::Driver::new(Client::new(config.clone()), settings);
    driver.open().unwrap();
    let mut messages = 0;
    while messages < 51 {
        assert!(driver.step(PATIENCE), "after {messages}");
        while let Some(event) = driver.client.poll_event() {
            messages += usize::from(is_message(&event));
        }
    }
    server.join().unwrap();

    let (address, server) = eager_server();
    let settings = Settings::new(address, version, "awaiter");
    let mut driver = on_tokio::Driver::new(Client::new(config), settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        driver.open().await.unwrap();
        let mut messages = 0;
        while messages < 51 {
            let event = driver.next_event().await.unwrap();
            messages += usize::from(is_message(&event));
        }
        // What is to be written goes with the next step.
        assert!(driver.next_event().await.is_some_and(|it| !is_message(&it)));
    });
    server.join().unwrap();
}

/// A server that goes on sending whether or not the client still reads.
fn talkative_server() -> (String, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connect = [0; 1024];
        assert!(client.read(&mut connect).unwrap() > 0, "CONNECT");
        let first = b"\x20\x02\0\0\x32\x05\x00\x01t\x00\x01";
        let more = b"\x30\x03\x00\x01t".repeat(20_000);
        client.write_all(&[&first[..], &more].concat()).unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("no reset");
        // More than sockets hold: somebody reads it.
        let more = client.write_all(&vec![0; 16 << 20]);
        more.expect("who has not heard of the end is not reset");
        rest
    });
    (address, server)
}

/// A socket that is closed while something waits in it to be read takes back what the other side has not read:
/// acknowledgements would be lost.
#[test]
fn who_leaves_in_the_middle_of_messages_is_heard_to_the_end() {
    let version = ProtocolVersion::V3_1_1;
    let is_message = |event: &Event| matches!(event, Event::Message { .. });
    let last_words = b"\x40\x02\x00\x01\xe0\x00";

    let (address, server) = talkative_server();
    let settings = Settings::new(address, version, "leaver");
    let mut driver = blocking::Driver::new(Client::new(Config::default()), settings);
    driver.open().unwrap();
    while !driver.client.poll_event().is_some_and(|it| is_message(&it)) {
        assert!(driver.step(PATIENCE), "the connection stays");
    }
    driver.close();
    assert_eq!(server.join().unwrap(), last_words);

    let (address, server) = talkative_server();
    let settings = Settings::new(address, version, "leaver");
    let mut driver = on_tokio::Driver::new(Client::new(Config::default()), settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        driver.open().await.unwrap();
        while !driver.next_event().await.is_some_and(|it| is_message(&it)) {}
        driver.close().await;
    });
    assert_eq!(server.join().unwrap(), last_words);
}

/// A server that takes a client in and then reads nothing more, until it is told to end.
fn deaf_server() -> (String, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        assert!(client.read(&mut [0; 1024]).unwrap() > 0, "CONNECT");
        client.write_all(b"\x20\x03\0\0\0").unwrap();
        let _dropped = ended.recv();
    });
    (address, end)
}

/// Who waits until something is written keeps the time of its keep alive all the same.
#[test]
fn a_broker_that_reads_nothing_is_given_up() {
    let config = || Config {
        messages_bytes_max: 32 << 20,
        ping_timeout: Duration::from_secs(1),
        ..Config::default()
    };
    let settings = |address| Settings {
        keep_alive_secs: 1,
        ..Settings::new(address, ProtocolVersion::V5_0, "writer")
    };
    let (address, _end) = deaf_server();
    let (given_up, is_given_up) = mpsc::channel();
    thread::spawn(move || {
        let mut driver = blocking::Driver::new(Client::new(config()), settings(address));
        driver.open().unwrap();
        while driver.step(PATIENCE) {
            if let Some(Event::Connected { .. }) = driver.client.poll_event() {
                let now = driver.now();
                much(&mut driver.client, now);
            }
        }
        given_up.send(driver.fault().is_some()).unwrap();
    });
    assert_eq!(is_given_up.recv_timeout(PATIENCE), Ok(true), "blocking");

    let (address, _end) = deaf_server();
    let mut driver = on_tokio::Driver::new(Client::new(config()), settings(address));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let given_up = runtime.block_on(async {
        driver.open().await.unwrap();
        let events = async {
            while let Some(event) = driver.next_event().await {
                if matches!(event, Event::Connected { .. }) {
                    let now = driver.now();
                    much(&mut driver.client, now);
                }
            }
        };
        tokio::time::timeout(PATIENCE, events).await
    });
    assert!(given_up.is_ok(), "on tokio");
}

/// What is below MQTT has its time, too, and somebody who says nothing there is given up.
#[test]
fn a_broker_that_says_nothing_at_all_is_given_up() {
    // The system takes clients in, and nobody answers them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let anybody = rcgen::generate_simple_self_signed(vec!["anybody".to_owned()]).unwrap();
    let anybody = file(&folder("drivers"), "anybody.pem", &anybody.cert.pem());
    for scheme in ["mqtts", "ws", "wss"] {
        let url = format!("{scheme}://{address}");
        let settings = || {
            let mut settings = Settings::new(&url, ProtocolVersion::V5_0, "waiting");
            settings.tls.ca = Some(anybody.clone());
            settings.handshake = Duration::from_millis(50);
            settings
        };
        let said = |error: anyhow::Error| {
            let text = format!("{error:#}");
            assert!(text.contains("no answer in time"), "{scheme}: {text}");
        };
        let mut driver = blocking::Driver::new(Client::new(Config::default()), settings());
        said(driver.open().unwrap_err());
        let mut driver = on_tokio::Driver::new(Client::new(Config::default()), settings());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let opened =
            runtime.block_on(async { tokio::time::timeout(PATIENCE, driver.open()).await });
        said(opened.expect("given up").unwrap_err());
    }
}

/// A server that says why it ends the connection, and does not read what the client writes meanwhile.
fn hasty_server() -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connect = [0; 1024];
        assert!(client.read(&mut connect).unwrap() > 0, "CONNECT");
        client.write_all(b"\x20\x03\0\0\0").unwrap();
        // One byte of what waits there.
        client.read_exact(&mut [0]).unwrap();
        client.write_all(b"\xe0\x01\x8b").unwrap();
    });
    (address, server)
}

/// More than sockets hold.
fn much(client: &mut Machine, now: Timestamp) {
    for _ in 0..16 {
        let message = Message::new("t", vec![0; 1 << 20]).unwrap();
        client
            .publish(now, message.with_qos(QoS::AtLeastOnce))
            .unwrap();
    }
}

/// That nothing can be written any more is no reason not to read why.
#[test]
fn why_the_broker_closed_is_heard_while_there_is_much_to_write() {
    let config = Config {
        messages_bytes_max: 32 << 20,
        ..Config::default()
    };
    let (address, server) = hasty_server();
    let settings = Settings::new(address, ProtocolVersion::V5_0, "writer");
    let mut driver = blocking::Driver::new(Client::new(config.clone()), settings);
    driver.open().unwrap();
    let (mut last, mut open) = (None, true);
    while open {
        open = driver.step(PATIENCE);
        while let Some(event) = driver.client.poll_event() {
            if matches!(event, Event::Connected { .. }) {
                let now = driver.now();
                much(&mut driver.client, now);
            }
            last = Some(event);
        }
    }
    assert_shutting_down(last);
    server.join().unwrap();

    let (address, server) = hasty_server();
    let settings = Settings::new(address, ProtocolVersion::V5_0, "writer");
    let mut driver = on_tokio::Driver::new(Client::new(config), settings);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut last = None;
    runtime.block_on(async {
        driver.open().await.unwrap();
        while let Some(event) = driver.next_event().await {
            if matches!(event, Event::Connected { .. }) {
                let now = driver.now();
                much(&mut driver.client, now);
            }
            last = Some(event);
        }
    });
    assert_shutting_down(last);
    server.join().unwrap();
}

fn assert_shutting_down(event: Option<Event>) {
    let shown = format!("{event:?}");
    assert!(
        matches!(event, Some(Event::Closed { .. })) && shown.contains("ServerShuttingDown"),
        "{shown}"
    );
}

/// A place where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A program that ends does not wait for a broker that is not there, and can leave messages for it.
#[test]
fn the_background_ends_without_a_broker() {
    let settings = Settings::new(nobody(), ProtocolVersion::V5_0, "alone");
    let (sender, answers) = mpsc::channel();
    let publish = |sender: mpsc::Sender<bool>| {
        move |client: &mut Machine, now: Timestamp| {
            let taken = client.publish(now, Message::new("t", "m").unwrap());
            sender.send(taken.is_ok()).unwrap();
        }
    };
    let driver = blocking::Driver::new(Client::new(Config::default()), settings.clone());
    let background = driver.spawn(|_, event| panic!("{event:?}"));
    // More than one attempt has failed when the second one is answered.
    assert!(background.call(publish(sender.clone())));
    assert_eq!(answers.recv_timeout(PATIENCE), Ok(true));
    let stopped = thread::spawn(move || background.stop());
    stopped.join().unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = on_tokio::Driver::new(Client::new(Config::default()), settings);
        let background = driver.spawn(|_, event| panic!("{event:?}"));
        for _ in 0..2 {
            assert!(background.call(publish(sender.clone())).await);
            tokio::task::yield_now().await;
        }
        let stopped = tokio::time::timeout(PATIENCE, background.stop());
        stopped.await.expect("it ends");
    });
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [true; 2]);
}

/// Refuses each connection, and answers how long after one the next one came.
fn refusing_server() -> (String, thread::JoinHandle<Duration>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let refused = || {
            let (mut client, _) = listener.accept().unwrap();
            let mut some = [0; 1024];
            assert!(client.read(&mut some).unwrap() > 0, "CONNECT");
            client.write_all(b"\x20\x02\0\x05").unwrap();
            std::time::Instant::now()
        };
        let first = refused();
        refused().duration_since(first)
    });
    (address, server)
}

/// A client that is refused does not come again at once.
#[test]
fn the_background_waits_between_attempts() {
    let settings = |address| Settings::new(address, ProtocolVersion::V3_1_1, "refused");
    // The first pause is at least half a second.
    let least = Duration::from_millis(400);
    let (address, server) = refusing_server();
    let client = Client::new(Config::default());
    let background = blocking::Driver::new(client, settings(address)).spawn(|_, _| {});
    let pause = server.join().unwrap();
    background.stop();
    assert!(pause > least, "in a thread: {pause:?}");

    let (address, server) = refusing_server();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let pause = runtime.block_on(async {
        let client = Client::new(Config::default());
        let background = on_tokio::Driver::new(client, settings(address)).spawn(|_, _| {});
        let pause = tokio::task::spawn_blocking(|| server.join().unwrap()).await;
        background.stop().await;
        pause.unwrap()
    });
    assert!(pause > least, "in a task: {pause:?}");
}

/// What became of a message is told at once, with or without a byte to write.
#[tokio::test]
async fn tokio_tells_of_what_has_expired() {
    let broker = OurBroker::start();
    let settings = Settings {
        keep_alive_secs: 0,
        ..settings(&broker, ProtocolVersion::V5_0, "late")
    };
    let mut client = Client::new(Config::default());
    let expired = mqtt_codec::Publish {
        properties: mqtt_codec::PublishProperties {
            message_expiry_secs: Some(0),
            ..Default::default()
        },
        ..mqtt_codec::Publish::new(mqtt_codec::TopicName::new("t").unwrap(), b"m")
    };
    let expired = Message::from_publish(&expired, mqtt_codec::TopicName::new("t").unwrap());
    client.publish(Timestamp::ZERO, expired).unwrap();
    let mut driver = on_tokio::Driver::new(client, settings);
    driver.open().await.unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = tokio::time::timeout(PATIENCE, driver.next_event()).await;
        told.extend(event.expect("in time"));
    }
    assert!(matches!(
        told[..],
        [Event::Connected { .. }, Event::PublishLost { .. }]
    ));
}
