//! A client that subscribes, and counts.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use mqtt_codec::SubscribeFilter;
use mqtt_state::client::{Client, Config, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::stamp::Stamp;
use super::{Run, Tally};
use crate::drive::tokio::Driver;
use crate::options::failure;
use crate::settings::Settings;

/// Says when it is subscribed, counts until all is there or nothing comes any more, and answers what
/// came and when the last of it did.
pub(super) async fn run(
    run: Arc<Run>,
    settings: Settings,
    ready: mpsc::UnboundedSender<()>,
    mut is_done: watch::Receiver<bool>,
) -> anyhow::Result<(Tally, Instant)> {
    let name = settings.client_id.clone();
    let mut driver = Driver::new(Client::new(Config::default()), settings);
    driver.open().await.with_context(|| name.clone())?;
    let (mut tally, mut last) = (Tally::new(&run.plan)?, Instant::now());
    // Dropped when it is subscribed, or will never be.
    let mut ready = Some(ready);
    loop {
        let complete = run.complete.notified();
        if run.is_complete() {
            break;
        }
        let published_all = *is_done.borrow_and_update();
        let event = tokio::select! {
            event = driver.next_event() => event,
            () = complete => break,
            _ = is_done.changed(), if !published_all => continue,
            () = sleep(run.plan.patience), if published_all => break,
        };
        let Some(event) = event else {
            anyhow::bail!("{name}: the connection is gone");
        };
        if let Some(error) = failure(&event, driver.fault()) {
            return Err(error.context(name));
        }
        match event {
            Event::Connected { .. } => {
                let filter = run.plan.filter();
                let filter = SubscribeFilter::new(&filter, run.plan.qos)?;
                driver.client.subscribe(&[filter])?;
            }
            Event::Subscribed { reasons, .. } => {
                let granted = reasons.iter().all(|reason| reason.granted().is_some());
                anyhow::ensure!(granted, "{name}: the subscription was refused");
                if let Some(ready) = ready.take() {
                    let _nobody_waits = ready.send(());
                }
            }
            Event::Message { message, .. } => {
                if let Some(stamp) = Stamp::of(message.payload())
                    && tally.note(stamp, run.origin.elapsed())
                {
                    last = Instant::now();
                    run.note_arrived();
                }
            }
            _ => {}
        }
    }
    driver.close().await;
    Ok((tally, last))
}
