//! An MQTT broker on TCP, TLS and WebSocket, in memory or with a store.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use mqtt_examples::access::password;
use mqtt_examples::broker::Server;
use mqtt_examples::broker::listen::{Listener, Transport};
use mqtt_examples::broker::options::{Options, Plan};
use mqtt_examples::broker::reload::Reload;
use mqtt_examples::broker::store::Store;
use mqtt_examples::lines;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let options = Options::parse();
    // Clients do not wait until somebody reads what is told of them.
    let is_broker = options.hash_password.is_none();
    let _last_lines = is_broker.then(lines::in_background);
    let result = match &options.hash_password {
        Some(given) => password::print_line(given),
        None => options.plan().and_then(|plan| run(plan, options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mqtt_examples::log!("broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(plan: Plan, options: Options) -> anyhow::Result<()> {
    let reload = Arc::new(Reload::new(options, &plan));
    let store = plan.store.as_deref().map(Store::open).transpose()?;
    let record = plan.record.as_deref();
    let server = Server::new(
        plan.config,
        plan.access,
        plan.verbose,
        store.as_ref(),
        record,
    )?;
    let has_store = store.is_some();
    // Before anybody can know that it runs, and end it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut listeners = Vec::new();
    for (number, (address, transport)) in (0..).zip(plan.listeners) {
        listeners.push(Listener::bind(number, &address, transport).await?);
    }
    for listener in listeners {
        announce(&listener)?;
        let server = server.clone();
        tokio::spawn(async move { server.serve(listener).await });
    }
    let reader = server.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reader.read_again(&reload).await;
        }
    });
    if let Some(every) = plan.figures_every {
        let server = server.clone();
        tokio::spawn(async move { server.publish_figures(every).await });
    }
    // Goes on during the shutdown: there are deadlines in it.
    let time_keeper = server.clone();
    tokio::spawn(async move { time_keeper.keep_time().await });
    // Without one it has nothing to say, ever.
    let store_keeper = server.clone();
    let keep = async move {
        match store {
            Some(store) => store_keeper.keep_store(store).await,
            None => std::future::pending().await,
        }
    };
    let mut keeping = tokio::spawn(keep);
    let failed = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        // Nothing can be acknowledged without it.
        failed = &mut keeping => Some(failed?),
    };
    mqtt_examples::out!("shutting down");
    server.shut_down().await;
    let kept = match failed {
        Some(result) => result,
        None if has_store => keeping.await?,
        None => Ok(()),
    };
    kept.context("the store has failed")
}

/// Says where clients come in, and how to try it.
fn announce(listener: &Listener) -> anyhow::Result<()> {
    let address = listener.address()?;
    mqtt_examples::out!("listening on {address}");
    let there = match listener.transport() {
        Transport::Tcp => format!("-h {} -p {}", address.ip(), address.port()),
        Transport::Tls(_) => format!("--url mqtts://{address} --cafile CA.pem"),
        Transport::WebSocket => format!("--url ws://{address}"),
    };
    mqtt_examples::out!("  try: cargo run --release --bin subscribe -- {there} -v -t 'house/#'");
    mqtt_examples::out!("  and: cargo run --release --bin publish -- {there} -t house/light -m on");
    Ok(())
}
