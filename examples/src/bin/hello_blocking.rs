//! The smallest whole client on `std::net`: subscribes, publishes, and leaves when its message has
//! come back. `cargo run --release --bin hello_blocking -- 127.0.0.1:1883`

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mqtt_codec::{Connect, DisconnectReason, Message, ProtocolVersion, QoS, Str, SubscribeFilter};
use mqtt_state::client::{Client, Config, Event, RequestError};
use mqtt_state::{Timestamp, Transmit};

fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:1883".into());
    let mut stream = TcpStream::connect(address)?;
    let origin = Instant::now();
    let now = || Timestamp::ZERO + origin.elapsed();
    let mut client = Client::new(Config::default());
    let connect = Connect::new(ProtocolVersion::V5_0, Str::new("hello")?);
    client.connect(now(), &connect)?;
    let (mut input, mut output, mut piece) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        while let Some(event) = client.poll_event() {
            match event {
                Event::Connected { .. } => {
                    match client.subscribe(&[SubscribeFilter::new("hello/#", QoS::AtLeastOnce)?]) {
                        // It may be over already: `Event::Closed` is next then.
                        Ok(_) | Err(RequestError::NotConnected) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Event::Subscribed { .. } => {
                    let message = Message::new("hello/world", "hello")?;
                    client.publish(now(), message.with_qos(QoS::AtLeastOnce))?;
                }
                Event::Message { message, .. } => {
                    println!("{}: {} bytes", message.topic(), message.payload().len());
                    let _over = client.disconnect(now(), DisconnectReason::NormalDisconnection);
                }
                other => println!("{other:?}"),
            }
        }
        let transmit = client.poll_transmit(now(), 64 * 1024, &mut output);
        stream.write_all(&output)?;
        output.clear();
        match transmit {
            Transmit::More => continue,
            Transmit::Close => return Ok(()),
            Transmit::Idle => {}
        }
        // Events and output that are gone make room for what was not taken before.
        let consumed = client.handle_input(now(), &input);
        if consumed.bytes > 0 {
            input.drain(..consumed.bytes);
            continue;
        }
        let timeout = client.poll_timeout();
        let due = timeout.map(|timeout| timeout.at.saturating_since(now()));
        stream.set_read_timeout(due.map(|due| due.max(Duration::from_millis(1))))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => input.extend_from_slice(piece.get(..len).unwrap_or_default()),
            Err(_no_bytes_in_time) => client.handle_timeout(now()),
        }
    }
}
