//! Which of several replicas is active: a Kubernetes Lease.
//!
//! ```text
//!   watch of the Lease ──> decide (pure) ──> acquire, renew, wait ──> API server
//!                                │
//!                                └──> Gate: open until a deadline
//! ```
//!
//! Guarantees:
//! * A record counts as expired only when *we* have known it unchanged for its whole duration:
//!   clocks of different hosts are never compared. Whoever takes the lease does so against the
//!   version that it knows, so one that was renewed behind its back is not taken.
//! * The gate closes by itself a second before the end of our own lease, measured on a clock that
//!   goes on while the host sleeps. A process that wakes after a takeover finds it closed.
//! * An orderly end gives the lease back, and who waits for it hears of that at once.

mod decide;
mod gate;
mod sight;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

pub use decide::{Decision, Observed, Record, decide};
pub use gate::Gate;
use sight::{Sight, Told};

/// How long a lease holds without being renewed.
pub const DURATION: Duration = Duration::from_secs(4);
/// How often the holder renews it, and the least time between two tries of anything.
const PERIOD: Duration = Duration::from_millis(500);
/// How long before the end of the lease the gate closes: what is on its way has arrived by then.
const MARGIN: Duration = Duration::from_secs(1);
/// A request that takes longer has failed: the lease must not run out while we wait.
const ANSWER: Duration = Duration::from_secs(2);
/// Name of the Lease.
pub const NAME: &str = "vipgate-controller";

/// One replica among several.
pub struct Candidate {
    leases: Api<Lease>,
    identity: String,
    gate: Gate,
    leading: watch::Sender<bool>,
    sight: Sight,
    /// The lease as it was last read, told or written.
    seen: Option<Lease>,
    observed: Observed,
    /// The watch does not tell, or not soon enough: the lease has to be asked for.
    is_blind: bool,
    /// When the API server was last asked for something.
    asked: Option<Duration>,
}

impl Candidate {
    /// A replica that does not lead yet.
    pub fn new(client: Client, namespace: &str, identity: &str) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self {
            sight: Sight::new(leases.clone()),
            leases,
            identity: identity.to_owned(),
            gate: Gate::default(),
            leading: watch::Sender::new(false),
            seen: None,
            observed: Observed::default(),
            is_blind: true,
            asked: None,
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
        let mut leader = None;
        loop {
            let due = self.due().saturating_sub(gate::now());
            tokio::select! {
                told = self.sight.next() => self.take(told),
                () = tokio::time::sleep(due) => {}
            }
            match tokio::time::timeout(ANSWER, self.act()).await {
                Ok(Ok(())) => said.clear(),
                Ok(Err(error)) => tell(&mut said, &error.to_string()),
                Err(_) => tell(&mut said, "no answer in time"),
            }
            self.tell_leading();
            let other = self.seen.as_ref().and_then(|lease| Record::of(lease).holder);
            let other = other.filter(|holder| *holder != self.identity);
            if let Some(other) = other.as_ref().filter(|_| leader != other) {
                tracing::info!(identity = self.identity, leader = other, "stands by");
            }
            leader = other;
        }
    }

    /// Closes the gate: no write begins any more. The lease stays ours until [`Self::resign`], or
    /// until it expires. To be called when [`Self::run`] is not polled any more.
    pub fn retire(&mut self) {
        self.gate.close();
        self.tell_leading();
    }

    /// Gives the lease back, if it is ours.
    pub async fn resign(&mut self) {
        self.retire();
        match tokio::time::timeout(ANSWER, self.give_back()).await {
            Ok(Ok(true)) => tracing::info!("gave the lease back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be given back"),
            Err(_) => tracing::warn!("the lease could not be given back: no answer in time"),
        }
    }

    async fn give_back(&mut self) -> kube::Result<bool> {
        loop {
            let Some(lease) = &self.seen else { return Ok(false) };
            if Record::of(lease).holder.as_ref() != Some(&self.identity) {
                return Ok(false);
            }
            let mut lease = lease.clone();
            if let Some(spec) = &mut lease.spec {
                // As client-go does: nobody, for one second.
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            match self.leases.replace(NAME, &PostParams::default(), &lease).await {
                Ok(_) => return Ok(true),
                // A renewal was on its way when this replica was told to end.
                Err(kube::Error::Api(refusal)) if refusal.code == 409 => self.read().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes in what the watch tells. It may be older than what we wrote meanwhile.
    fn take(&mut self, told: Told) {
        match told {
            Told::There(lease) => {
                self.is_blind = false;
                if self.seen.as_ref().is_none_or(|seen| !is_older(&lease, seen)) {
                    self.see(Some(*lease));
                }
            }
            Told::Missing => {
                self.is_blind = false;
                self.see(None);
            }
            Told::Nothing => self.is_blind = true,
        }
    }

    fn see(&mut self, lease: Option<Lease>) {
        self.observed.see(lease.as_ref().map(Record::of).as_ref(), gate::now());
        self.seen = lease;
    }

    async fn read(&mut self) -> kube::Result<()> {
        let lease = self.leases.get_opt(NAME).await?;
        self.see(lease);
        Ok(())
    }

    /// What is to be done now, if anything.
    async fn act(&mut self) -> kube::Result<()> {
        let asked = gate::now();
        let is_due = self.asked.is_none_or(|last| asked >= last + PERIOD);
        if self.is_blind && is_due {
            self.asked = Some(asked);
            self.read().await?;
        }
        let record = self.seen.as_ref().map(Record::of);
        match decide(record.as_ref(), &self.identity, gate::now(), &self.observed) {
            Decision::Take => self.write(true).await,
            Decision::Renew if is_due => self.write(false).await,
            Decision::Renew | Decision::Wait => Ok(()),
        }
    }

    async fn write(&mut self, take: bool) -> kube::Result<()> {
        // What we write is worth its duration from the moment before we asked.
        let asked = gate::now();
        self.asked = Some(asked);
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
        // With the resourceVersion that we know: of two that try, one fails.
        let written = match self.seen {
            Some(_) => self.leases.replace(NAME, &params, &lease).await,
            None => self.leases.create(&params, &lease).await,
        };
        match written {
            Ok(lease) => {
                self.observed.see(Some(&Record::of(&lease)), asked);
                self.seen = Some(lease);
                self.gate.open_until(permitted_until(asked));
                Ok(())
            }
            // Somebody was faster, and the watch has not told of it.
            Err(kube::Error::Api(refusal))
                if refusal.code == 409 || (refusal.code == 404 && self.seen.is_some()) =>
            {
                self.read().await
            }
            Err(error) => Err(error),
        }
    }

    /// When there is something to do, if the watch tells nothing before: our lease is to be renewed,
    /// or that of somebody else expires.
    fn due(&self) -> Duration {
        let next = self.asked.map_or(Duration::ZERO, |asked| asked + PERIOD);
        let other = self.seen.as_ref().map(Record::of);
        let other = other
            .filter(|record| record.holder.as_ref().is_some_and(|holder| *holder != self.identity));
        match other {
            Some(other) if !self.is_blind => self.observed.expires(&other).max(next),
            _ => next,
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

/// Whether a lease that was told of is older than the one that is known (KEP-5504).
fn is_older(told: &Lease, known: &Lease) -> bool {
    let number = |lease: &Lease| lease.metadata.resource_version.as_ref()?.parse::<u64>().ok();
    matches!((number(told), number(known)), (Some(told), Some(known)) if told < known)
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
