//! Who answers for the addresses of the pools: asked on the wire as the speaker asks before it claims one.
//!
//! Bounded in number and in pace: [`AT_ONCE`] addresses at a time, three probes of each within half a second,
//! so 48 packets a second. What this host has, and what vipgate has, is not asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_speaker::host::Seen;
use vipgate_speaker::l2::{L2Error, L2Speaker, ProbeOutcome};

use super::NO_POOLS;
use super::links::carries;
use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::Pool;

/// Addresses that are asked for at a time.
const AT_ONCE: usize = 8;
/// Conflicts that are shown each; the rest is counted.
const SHOWN: usize = 20;

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    free: usize,
    /// Address, and who has it where.
    taken: Vec<(IpAddr, String)>,
    /// On no link that is up.
    unreachable: usize,
    failed: Option<L2Error>,
    /// In use by vipgate or on this host.
    ours: usize,
    /// Beyond the bound.
    left: bool,
}

/// Asks for each address of the pools, up to `at_most`. `vips`: those that vipgate has.
pub(super) async fn probe(
    pools: &[Pool],
    seen: &Seen,
    vips: &BTreeSet<IpAddr>,
    at_most: usize,
) -> Finding {
    if pools.is_empty() {
        return Finding::unseen(Check::ADDRESS_CONFLICTS, NO_POOLS);
    }
    let mut addresses: Vec<IpAddr> =
        pools.iter().flat_map(|pool| pool.addresses(at_most.saturating_add(1))).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let mut outcome = Outcome { left: addresses.len() > at_most, ..Outcome::default() };
    addresses.truncate(at_most);
    let here = |ip: &IpAddr| {
        let own = seen.links.iter().flat_map(|link| &link.addresses).any(|net| net.addr() == *ip);
        own || vips.contains(ip) || seen.vips.contains(ip)
    };
    let (ours, foreign): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.into_iter().filter(|ip| !ip.is_loopback()).partition(here);
    outcome.ours = ours.len();

    let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
    let (speaker, _sightings) = L2Speaker::new(tracker.clone(), token.clone(), Duration::ZERO);
    // It owns nothing, so no link has a task that could fail yet.
    drop(speaker.set_links(&seen.links));
    let ask = |ip: IpAddr| {
        let on =
            seen.links.iter().filter(|link| link.up && link.mac.is_some() && carries(link, ip));
        let on: Vec<String> = on.map(|link| link.name.clone()).collect();
        let speaker = &speaker;
        async move { (ip, speaker.probe(ip, &on).await) }
    };
    let mut answers = stream::iter(foreign).map(ask).buffer_unordered(AT_ONCE);
    while let Some((ip, answer)) = answers.next().await {
        match answer {
            Ok(ProbeOutcome::Free) => outcome.free += 1,
            Ok(ProbeOutcome::Conflict { mac, link }) => {
                outcome.taken.push((ip, format!("{mac} on {link}")))
            }
            Err(L2Error::NoLinks) => outcome.unreachable += 1,
            Err(error) => outcome.failed = Some(error),
        }
    }
    drop(answers);
    token.cancel();
    tracker.close();
    tracker.wait().await;
    outcome.taken.sort();
    told(&outcome, at_most)
}

fn told(outcome: &Outcome, at_most: usize) -> Finding {
    let check = Check::ADDRESS_CONFLICTS;
    let Outcome { free, taken, unreachable, failed, ours, left } = outcome;
    let mut rest = Vec::new();
    if *ours > 0 {
        rest.push(format!("{ours} are in use by vipgate or this host and were not asked for"));
    }
    if *unreachable > 0 {
        rest.push(format!("{unreachable} are in no subnet of an interface that is up"));
    }
    if *left {
        rest.push(format!("beyond {at_most} none was asked for (--probe-limit)"));
    }
    let rest = rest.iter().map(|text| format!("; {text}")).collect::<String>();
    if let [_, ..] = taken[..] {
        let shown: Vec<String> = taken
            .iter()
            .take(SHOWN)
            .map(|(ip, who)| format!("{ip} is answered for by {who}"))
            .collect();
        let more = taken.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        let all: Vec<String> = taken.iter().take(SHOWN).map(|(ip, _)| ip.to_string()).collect();
        let mend = format!(
            "`spec.exclusions: [{}]` in the pool, or take them from who has them",
            all.join(", ")
        );
        return Finding::error(check, format!("{}{more}{rest}", shown.join(", "))).mend(mend);
    }
    if let Some(error) = failed {
        return Finding::unseen(check, format!("{error}{rest}"));
    }
    match free {
        0 => Finding::unseen(check, format!("no address could be asked for{rest}")),
        free => Finding::ok(check, format!("nobody answers for {free} addresses{rest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;

    #[test]
    fn an_answer_is_an_error_and_what_was_not_asked_is_said() {
        let ip: IpAddr = "192.0.2.240".parse().unwrap();
        let free = Outcome { free: 3, ours: 1, left: true, ..Outcome::default() };
        let found = told(&free, 4);
        assert_eq!(found.verdict, Verdict::Ok);
        assert_eq!(
            found.found,
            "nobody answers for 3 addresses; 1 are in use by vipgate or this host and were not \
             asked for; beyond 4 \
             none was asked for (--probe-limit)"
        );
        let taken = Outcome { taken: vec![(ip, "02:00:00:00:00:01 on eth0".into())], ..free };
        let found = told(&taken, 4);
        assert_eq!(found.verdict, Verdict::Error);
        assert!(
            found.found.starts_with("192.0.2.240 is answered for by 02:00:00:00:00:01 on eth0; "),
            "{}",
            found.found
        );
        assert!(found.mend.unwrap().starts_with("`spec.exclusions: [192.0.2.240]`"));
    }

    #[test]
    fn silence_that_proves_nothing_is_no_ok() {
        let down = L2Error::Permission { link: "eth0".into() };
        let failed = Outcome { free: 2, failed: Some(down), ..Outcome::default() };
        let found = told(&failed, 4);
        assert_eq!(found.verdict, Verdict::NotLookedAt);
        assert!(found.found.contains("CAP_NET_RAW"), "{}", found.found);
        let nowhere = Outcome { unreachable: 5, ..Outcome::default() };
        let found = told(&nowhere, 4);
        assert_eq!(found.verdict, Verdict::NotLookedAt);
        assert!(found.found.contains("5 are in no subnet"), "{}", found.found);
    }
}
