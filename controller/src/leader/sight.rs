//! The lease as the API server tells of it, as soon as it changes.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::runtime::watcher;
use tokio::time::{Instant, sleep_until};

use super::NAME;
use crate::backoff::Backoff;
use crate::watch::WATCH_SECONDS;
use crate::words::with_causes;

/// What the watch tells.
#[derive(Debug)]
pub(super) enum Told {
    /// The lease is there, and looks like this.
    There(Box<Lease>),
    /// There is no lease.
    Missing,
    /// Nothing for a while: the watch broke off, or is refused.
    Nothing,
}

/// The watch of one lease.
pub(super) struct Sight {
    events: BoxStream<'static, watcher::Result<watcher::Event<Lease>>>,
    /// The list that is under way had it.
    is_listed: bool,
    backoff: Backoff,
    wait_until: Option<Instant>,
}

impl Sight {
    pub(super) fn new(leases: Api<Lease>) -> Self {
        let only = watcher::Config::default()
            .fields(&format!("metadata.name={NAME}"))
            .timeout(WATCH_SECONDS);
        Self {
            events: watcher(leases, only).boxed(),
            is_listed: false,
            backoff: Backoff::default(),
            wait_until: None,
        }
    }

    /// Waits for what is told next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            if let Some(time) = self.wait_until {
                sleep_until(time).await;
                self.wait_until = None;
            }
            let Some(event) = self.events.next().await else {
                // It never ends.
                return std::future::pending().await;
            };
            if event.is_ok() {
                self.backoff.reset();
            }
            match event {
                Ok(watcher::Event::Init) => self.is_listed = false,
                Ok(watcher::Event::InitApply(lease)) => {
                    self.is_listed = true;
                    return Told::There(Box::new(lease));
                }
                Ok(watcher::Event::InitDone) if self.is_listed => {}
                Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => return Told::Missing,
                Ok(watcher::Event::Apply(lease)) => return Told::There(Box::new(lease)),
                Err(error) => {
                    tracing::debug!(error = with_causes(&error), "the lease is out of sight");
                    self.wait_until = Some(Instant::now() + self.backoff.wait());
                    return Told::Nothing;
                }
            }
        }
    }
}
