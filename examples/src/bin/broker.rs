//! An MQTT broker on TCP, everything in memory.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use mqtt_examples::broker::Server;
use mqtt_state::{broker, server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// An MQTT 5.0 and 3.1.1 broker. Everything is kept in memory.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address and port to listen on; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:1883")]
    bind: Vec<String>,
    /// Connections at once; further ones are closed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_connections: usize,
    /// Largest packet, in bytes; larger ones are refused
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = clap::value_parser!(u32).range(16..))]
    max_packet_size: u32,
    /// Messages that wait for one client that is slow or away; further ones are dropped
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_queued: usize,
    /// Print everything that happens
    #[arg(long, short)]
    verbose: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mqtt_examples::log!("broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<()> {
    let server = Server::new(
        broker::Config {
            server: server::Config {
                packet_size_max: options.max_packet_size,
                waiting_len_max: options.max_queued,
                ..server::Config::default()
            },
            connections_max: options.max_connections,
            seed: RandomState::new().build_hasher().finish(),
            ..broker::Config::default()
        },
        options.verbose,
    );
    for address in &options.bind {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        mqtt_examples::out!("listening on {address}");
        let (host, port) = (address.ip(), address.port());
        mqtt_examples::out!(
            "  try: cargo run --release --bin subscribe -- -h {host} -p {port} -v -t 'house/#'"
        );
        mqtt_examples::out!(
            "  and: cargo run --release --bin publish -- -h {host} -p {port} -t house/light -m on"
        );
        let server = server.clone();
        tokio::spawn(async move { server.serve(listener).await });
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        () = server.keep_time() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    mqtt_examples::out!("shutting down");
    server.shut_down().await;
    Ok(())
}
