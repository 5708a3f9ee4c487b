//! The smallest whole client on tokio: subscribes, publishes, and leaves when its message has come
//! back. `cargo run --release --bin hello_tokio -- 127.0.0.1:1883`

use std::time::{Duration, Instant};

use bytes::BytesMut;
use mqtt_codec::{Connect, DisconnectReason, Message, ProtocolVersion, QoS, Str, SubscribeFilter};
use mqtt_state::client::{Client, Config, Event, RequestError};
use mqtt_state::{Timestamp, Transmit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// What to do about each event.
fn react(client: &mut Client, now: Timestamp, event: Event) -> anyhow::Result<()> {
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
            client.publish(now, message.with_qos(QoS::AtLeastOnce))?;
        }
        Event::Message { message, .. } => {
            println!("{}: {} bytes", message.topic(), message.payload().len());
            let _over = client.disconnect(now, DisconnectReason::NormalDisconnection);
        }
        other => println!("{other:?}"),
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:1883".into());
    let mut stream = TcpStream::connect(address).await?;
    let origin = Instant::now();
    let now = || Timestamp::ZERO + origin.elapsed();
    let mut client = Client::new(Config::default());
    client.connect(
        now(),
        &Connect::new(ProtocolVersion::V5_0, Str::new("hello")?),
    )?;
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    loop {
        while let Some(event) = client.poll_event() {
            react(&mut client, now(), event)?;
        }
        let transmit = client.poll_transmit(now(), 64 * 1024, &mut output);
        stream.write_all(&output).await?;
        output.clear();
        match transmit {
            Transmit::More => continue,
            Transmit::Close => return Ok(()),
            Transmit::Idle => {}
        }
        // Events and output that are gone make room for what was not taken before.
        if client.handle_input_shared(now(), &mut input).bytes > 0 {
            continue;
        }
        let due = client
            .poll_timeout()
            .map(|timeout| timeout.at.saturating_since(now()));
        tokio::select! {
            read = stream.read_buf(&mut input) => if read? == 0 {
                return Ok(());
            },
            () = sleep(due.unwrap_or(Duration::MAX)) => client.handle_timeout(now()),
        }
    }
}
