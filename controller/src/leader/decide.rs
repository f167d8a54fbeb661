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
    /// The record had been read by this time (on our clock): not when it was asked for, because it may
    /// have been written since.
    pub fn see(&mut self, record: Option<&Record>, now: Duration) {
        let version = record.map(|record| record.version.clone());
        if self.version != version {
            *self = Self { version, since: now };
        }
    }

    /// When a record expires, if it is not renewed.
    pub fn expires(&self, record: &Record) -> Duration {
        self.since.saturating_add(record.duration)
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
        Some(_) if now >= observed.expires(record) => Decision::Take,
        Some(_) => Decision::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::super::permitted_until;
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
        observed.see(Some(&other), at(103));
        assert_eq!(decide(Some(&other), "me", at(103), &observed), Decision::Wait);
        assert_eq!(decide(Some(&other), "me", at(104), &observed), Decision::Take);
        // A renewal starts the wait anew.
        let renewed = record("other", "8");
        observed.see(Some(&renewed), at(105));
        assert_eq!(decide(Some(&renewed), "me", at(108), &observed), Decision::Wait);
    }

    /// Whatever the phases and delays are: nobody else leads before the former leader has stopped,
    /// and a crash is over within 5 s.
    #[test]
    fn two_never_lead_and_a_crash_is_over_in_time() {
        let ms = Duration::from_millis;
        for (phase, delay) in (0..500).step_by(10).flat_map(|p| [1, 60, 240].map(|d| (p, d))) {
            // The leader asks at 10 s for what is written `delay` later, and then is gone.
            let (asked, written) = (ms(10_000), ms(10_000 + delay));
            let stops = permitted_until(asked);
            let (mut now, mut observed) = (ms(9_000 + phase), Observed::default());
            loop {
                // An answer takes `delay` too.
                now += ms(delay);
                let record = record("other", if now < written { "1" } else { "2" });
                observed.see(Some(&record), now);
                match decide(Some(&record), "me", now, &observed) {
                    // Told of a change, or at the end of what is known.
                    Decision::Wait if now < written => now = observed.expires(&record).min(written),
                    Decision::Wait => now = observed.expires(&record),
                    decision => {
                        assert_eq!(decision, Decision::Take);
                        break;
                    }
                }
            }
            assert!(now > stops, "taken at {now:?}, phase {phase}");
            assert!(now <= written + ms(5_000), "taken at {now:?}, phase {phase}");
        }
    }
}
