//! Which of several replicas is active: a Kubernetes Lease.
//!
//! ```text
//!   Lease, as last seen ──> decide (pure) ──> acquire, renew, wait ──> API server
//!                                 │
//!                                 └──> Gate: open until a deadline
//! ```
//!
//! Guarantees:
//! * A record counts as expired only when *we* have watched it unchanged for its whole duration:
//!   clocks of different hosts are never compared.
//! * The gate closes by itself a second before the end of our own lease, measured on a clock that
//!   goes on while the host sleeps. A process that wakes after a takeover finds it closed.
//! * An orderly end gives the lease back, so the next one does not wait for it.

mod decide;
mod gate;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

pub use decide::{Decision, Observed, Record, decide};
pub use gate::Gate;

/// How long a lease holds without being renewed.
pub const DURATION: Duration = Duration::from_secs(4);
/// How often the holder renews it, and others look.
const PERIOD: Duration = Duration::from_millis(500);
/// How long before the end of the lease the gate closes: what is on its way has arrived by then.
const MARGIN: Duration = Duration::from_secs(1);
/// A request that takes longer has failed: the lease must not run out while we wait.
const ANSWER: Duration = Duration::from_secs(2);
const NAME: &str = "vipgate-controller";

/// One replica among several.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    gate: Gate,
    leading: watch::Sender<bool>,
    /// The lease as it was last read.
    seen: Option<Lease>,
    observed: Observed,
}

impl Candidate {
    /// A replica that does not lead yet.
    pub fn new(client: Client, namespace: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            identity: identity.to_owned(),
            gate: Gate::default(),
            leading: watch::Sender::new(false),
            seen: None,
            observed: Observed::default(),
        }
    }

    /// Whether this replica may write, at any moment.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Tells when this replica begins and ceases to lead.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Takes part for as long as this is polled.
    pub async fn run(&mut self) {
        let mut said = String::new();
        loop {
            match tokio::time::timeout(ANSWER, self.round()).await {
                Ok(Ok(())) => said.clear(),
                Ok(Err(error)) => tell(&mut said, &error.to_string()),
                Err(_) => tell(&mut said, "no answer in time"),
            }
            self.tell_leading();
            tokio::time::sleep(self.until_next()).await;
        }
    }

    /// Gives the lease back, if it is ours.
    pub async fn resign(&mut self) {
        if !self.gate.is_open() {
            return;
        }
        self.gate.close();
        self.tell_leading();
        let Some(mut lease) = self.seen.take() else { return };
        if let Some(spec) = &mut lease.spec {
            // As client-go does: nobody, for one second.
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let params = PostParams::default();
        let write = self.leases.replace(NAME, &params, &lease);
        match tokio::time::timeout(ANSWER, write).await {
            Ok(Ok(_)) => tracing::info!("gave the lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back"),
            Err(_) => tracing::warn!("the lease could not be given back: no answer in time"),
        }
    }

    async fn round(&mut self) -> kube::Result<()> {
        // What we write is worth its duration from the moment before we asked.
        let asked = gate::now();
        self.seen = self.leases.get_opt(NAME).await?;
        let record = self.seen.as_ref().map(Record::of);
        let read = gate::now();
        self.observed.see(record.as_ref(), read);
        match decide(record.as_ref(), &self.identity, read, &self.observed) {
            Decision::Wait => Ok(()),
            Decision::Take => self.write(asked, true).await,
            Decision::Renew => self.write(asked, false).await,
        }
    }

    async fn write(&mut self, asked: Duration, take: bool) -> kube::Result<()> {
        let now = MicroTime(Timestamp::now());
        let mut lease = self.seen.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if take {
            let before = spec.lease_transitions.unwrap_or(0);
            spec.lease_transitions = Some(before.saturating_add(1));
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        let params = PostParams::default();
        // With the resourceVersion that was read: of two that try, one fails.
        let written = match self.seen {
            Some(_) => self.leases.replace(NAME, &params, &lease).await?,
            None => self.leases.create(&params, &lease).await?,
        };
        let record = Record::of(&written);
        self.observed.see(Some(&record), asked);
        self.seen = Some(written);
        self.gate.open_until(permitted_until(asked));
        Ok(())
    }

    /// When to look again: at the moment at which the lease of somebody else expires, if that is
    /// soon.
    fn until_next(&self) -> Duration {
        let other = self.seen.as_ref().map(Record::of);
        let other = other
            .filter(|record| record.holder.as_ref().is_some_and(|holder| *holder != self.identity));
        let expires = other.map(|record| self.observed.expires(&record));
        match expires.map(|expires| expires.saturating_sub(gate::now())) {
            Some(left) if !left.is_zero() => left.min(PERIOD),
            _ => PERIOD,
        }
    }

    fn tell_leading(&self) {
        let now = self.gate.is_open();
        self.leading.send_if_modified(|leading| {
            let changed = *leading != now;
            if changed {
                match now {
                    true => tracing::info!(identity = self.identity, "leads"),
                    false => tracing::warn!(identity = self.identity, "leads no more"),
                }
            }
            *leading = now;
            changed
        });
    }
}

/// Until when the gate is open for one who asked at this time for its renewal, which came about.
fn permitted_until(asked: Duration) -> Duration {
    asked + (DURATION - MARGIN)
}

fn tell(said: &mut String, text: &str) {
    if said != text {
        tracing::warn!(error = text, "the lease cannot be read or written");
        text.clone_into(said);
    }
}
