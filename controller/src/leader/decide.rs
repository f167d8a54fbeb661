//! Who leads: a function of the lease and of what we saw of it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;

/// What of a Lease decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; nobody after an orderly end.
    pub holder: Option<String>,
    /// How long it holds without being renewed.
    pub duration: Duration,
    /// `metadata.resourceVersion`: another one at every renewal.
    pub version: String,
}

impl Record {
    /// Of a lease as it was read.
    pub fn of(lease: &Lease) -> Self {
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.clone());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        Self {
            holder: holder.filter(|holder| !holder.is_empty()),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            version: lease.metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}

/// Since when we have seen a record as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    version: Option<String>,
    since: Duration,
}

impl Observed {
    /// The record was read at this time (on our clock).
    pub fn see(&mut self, record: Option<&Record>, now: Duration) {
        let version = record.map(|record| record.version.clone());
        if self.version != version {
            *self = Self { version, since: now };
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Somebody else leads.
    Wait,
    /// Nobody leads: try to become the one.
    Take,
    /// We lead: stay.
    Renew,
}

/// Decides. `now` is on the clock that `observed` was told of.
pub fn decide(record: Option<&Record>, me: &str, now: Duration, observed: &Observed) -> Decision {
    let Some(record) = record else { return Decision::Take };
    match record.holder.as_deref() {
        None => Decision::Take,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) if now.saturating_sub(observed.since) > record.duration => Decision::Take,
        Some(_) => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: Duration = Duration::from_secs(4);

    fn record(holder: &str, version: &str) -> Record {
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        Record { holder, duration: FOUR, version: version.to_owned() }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn without_a_lease_or_a_holder_anybody_may_take_it() {
        let observed = Observed::default();
        assert_eq!(decide(None, "me", at(0), &observed), Decision::Take);
        assert_eq!(decide(Some(&record("", "1")), "me", at(0), &observed), Decision::Take);
    }

    #[test]
    fn the_holder_renews_even_when_it_is_late() {
        let mut observed = Observed::default();
        observed.see(Some(&record("me", "1")), at(0));
        assert_eq!(decide(Some(&record("me", "1")), "me", at(99), &observed), Decision::Renew);
    }

    #[test]
    fn another_holder_is_dead_when_we_have_watched_it_be_silent() {
        let (mut observed, other) = (Observed::default(), record("other", "7"));
        // However old the record is: we see it for the first time.
        observed.see(Some(&other), at(100));
        assert_eq!(decide(Some(&other), "me", at(100), &observed), Decision::Wait);
        observed.see(Some(&other), at(104));
        assert_eq!(decide(Some(&other), "me", at(104), &observed), Decision::Wait);
        assert_eq!(decide(Some(&other), "me", at(105), &observed), Decision::Take);
        // A renewal starts the wait anew.
        let renewed = record("other", "8");
        observed.see(Some(&renewed), at(105));
        assert_eq!(decide(Some(&renewed), "me", at(108), &observed), Decision::Wait);
    }
}
