//! What holds of every way of balancing, and what is promised of each.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use vipgate_planner::{Balancing, Endpoint};

use super::affinity::Affinity;
use super::hash::{Client, ShareKey};
use super::maglev::Maglev;
use super::random::Random;
use super::{Balancer, Candidates, Standing};

mod vectors;

const ALL: [Balancing; 4] =
    [Balancing::RoundRobin, Balancing::LeastConnections, Balancing::SourceHash, Balancing::Maglev];

/// Endpoints as a test says.
#[derive(Clone)]
struct Fake(Vec<(Standing, usize)>);

impl Fake {
    fn good(count: usize) -> Self {
        Self(vec![(Standing::Good, 0); count])
    }
}

impl Candidates for Fake {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn standing(&self, place: usize) -> Standing {
        self.0[place].0
    }

    fn open(&self, place: usize) -> usize {
        self.0[place].1
    }
}

/// So many endpoints of one network.
fn addresses(count: usize) -> Vec<SocketAddr> {
    let first = u32::from(Ipv4Addr::new(10, 1, 0, 1));
    (0..count).map(|n| (Ipv4Addr::from(first + n as u32), 8080).into()).collect()
}

fn balancer(balancing: Balancing, addresses: &[SocketAddr]) -> Balancer {
    let endpoints: Vec<_> = addresses.iter().copied().map(Endpoint).collect();
    Balancer::new(balancing, &endpoints, || Maglev::new(addresses).into())
}

fn clients(count: u32) -> impl Iterator<Item = Client> {
    (0..count).map(|n| Client::of(IpAddr::from(Ipv4Addr::from(0xC633_0000 + n))))
}

fn pick(balancer: &Balancer, client: &Client, endpoints: &Fake) -> Option<usize> {
    balancer.pick(client, endpoints, &mut 0, &mut Random::seeded(7))
}

fn standing() -> impl Strategy<Value = Standing> {
    (0..3_u8).prop_map(|n| match n {
        0 => Standing::Good,
        1 => Standing::Ejected,
        _ => Standing::Unhealthy,
    })
}

proptest! {
    /// Nobody unhealthy while somebody is healthy; nobody ejected while somebody is neither, unless those
    /// whose turn it is are too few.
    #[test]
    fn who_does_not_take_connections_gets_none_while_others_do(
        standings in proptest::collection::vec(standing(), 1..20),
        way in 0..4_usize,
        from in any::<u32>(),
        seed in any::<u64>(),
    ) {
        let count = standings.len();
        let balancer = balancer(ALL[way], &addresses(count));
        let endpoints = Fake(standings.iter().map(|standing| (*standing, 0)).collect());
        let client = Client::of(IpAddr::from(Ipv4Addr::from(from)));
        let mut turn = seed as usize % 1000;
        let place = balancer.pick(&client, &endpoints, &mut turn, &mut Random::seeded(seed));
        let got = standings[place.unwrap()];
        let best = standings.iter().min().unwrap();
        match (best, got) {
            (Standing::Good, Standing::Ejected) if !ALL[way].is_hash() => {
                let healthy = standings.iter().filter(|s| **s != Standing::Unhealthy).count();
                let good = standings.iter().filter(|s| **s == Standing::Good).count();
                prop_assert!(healthy >= 8 && good <= healthy / 2);
            }
            (best, got) => prop_assert_eq!(*best, got),
        }
    }

    /// A retry goes to nobody twice while there are others, ends when all have refused, and asks a silent
    /// one again.
    #[test]
    fn retries_go_round(count in 1..6_usize, way in 0..4_usize, silent in any::<bool>()) {
        let balancer = balancer(ALL[way], &addresses(count));
        let (endpoints, client) = (Fake::good(count), Client::of([192, 0, 2, 9].into()));
        let mut at = pick(&balancer, &client, &endpoints).unwrap();
        let mut asked = Vec::new();
        for _ in 0..count {
            prop_assert!(!asked.contains(&at));
            asked.push(at);
            let became = |place: usize| asked.contains(&place).then_some(!silent);
            let Some(next) = balancer.next(&client, &endpoints, at, became) else { break };
            at = next;
        }
        prop_assert_eq!(asked.len(), count);
        prop_assert_eq!(asked.contains(&at), true);
        let became = |_| Some(!silent);
        let again = balancer.next(&client, &endpoints, at, became);
        prop_assert_eq!(again.is_some(), silent);
    }

    /// By hash, an endpoint that is passed over is as good as not there: whoever had another one keeps it.
    #[test]
    fn only_the_clients_of_who_is_passed_over_move(
        count in 2..40_usize, gone in any::<proptest::sample::Index>(), maglev in any::<bool>(),
    ) {
        let way = if maglev { Balancing::Maglev } else { Balancing::SourceHash };
        let balancer = balancer(way, &addresses(count));
        let gone = gone.index(count);
        let (all, mut fewer) = (Fake::good(count), Fake::good(count));
        fewer.0[gone].0 = Standing::Ejected;
        for client in clients(200) {
            let (before, after) =
                (pick(&balancer, &client, &all).unwrap(), pick(&balancer, &client, &fewer).unwrap());
            prop_assert!(after != gone && (before == gone || before == after));
            // The retry of whoever finds out goes where everybody goes afterwards.
            if before == gone {
                let next = balancer.next(&client, &all, gone, |p| (p == gone).then_some(true));
                prop_assert_eq!(next, Some(after));
            }
        }
    }

    /// Rendezvous: one that goes moves its own clients alone.
    #[test]
    fn a_source_hash_disturbs_nobody_else(
        count in 2..40_usize, gone in any::<proptest::sample::Index>(),
    ) {
        let all = addresses(count);
        let mut fewer = all.clone();
        let gone = fewer.remove(gone.index(count));
        let (before, after) =
            (balancer(Balancing::SourceHash, &all), balancer(Balancing::SourceHash, &fewer));
        for client in clients(200) {
            let had = all[pick(&before, &client, &Fake::good(count)).unwrap()];
            let has = fewer[pick(&after, &client, &Fake::good(count - 1)).unwrap()];
            prop_assert!(had == gone || had == has);
        }
    }

    /// A weight that grows takes clients and gives none; those that move come to it.
    #[test]
    fn a_weight_that_grows_only_takes(
        weights in proptest::collection::vec(0..20_u32, 1..6),
        grown in any::<proptest::sample::Index>(),
    ) {
        let grown = grown.index(weights.len());
        let mut more = weights.clone();
        more[grown] += 3;
        let of = |weights: &[u32], client: &Client| {
            let keys = (0..).map(|nth| ShareKey::of("Service default/s:80", nth));
            client.share(keys.zip(weights.iter().copied()))
        };
        for client in clients(200) {
            let (before, after) = (of(&weights, &client), of(&more, &client));
            prop_assert!(before == after || after == Some(grown));
            prop_assert!(before.is_none_or(|place| weights[place] > 0));
        }
    }
}

/// A table of these has shares equal within one per cent, and one endpoint less moves few others.
fn check_maglev(all: &[SocketAddr], gone: usize, most_moved: f64) {
    let table = Maglev::new(all);
    let slots: Vec<_> = table.slots().map(|place| all[place]).collect();
    let mut counts: HashMap<SocketAddr, usize> = HashMap::new();
    slots.iter().for_each(|address| *counts.entry(*address).or_default() += 1);
    let fair = slots.len() as f64 / all.len() as f64;
    for address in all {
        let part = counts.get(address).copied().unwrap_or(0) as f64;
        assert!((part / fair - 1.0).abs() <= 0.01, "{address}: {part} of {fair}");
    }
    if all.len() < 2 {
        return;
    }
    let mut fewer = all.to_vec();
    let gone = fewer.remove(gone);
    let after = Maglev::new(&fewer);
    let moved =
        slots.iter().zip(after.slots()).filter(|(had, has)| **had != gone && **had != fewer[*has]);
    let moved = moved.count() as f64 / slots.len() as f64;
    assert!(moved <= most_moved, "{moved} of {} endpoints' slots", all.len());
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn maglev_is_even_and_moves_little(
        hosts in proptest::collection::btree_set(any::<u32>(), 1..163),
        port in 1..60000_u16,
        gone in any::<proptest::sample::Index>(),
    ) {
        let all: Vec<SocketAddr> =
            hosts.iter().map(|host| (Ipv4Addr::from(*host), port).into()).collect();
        check_maglev(&all, gone.index(all.len()), 0.05);
    }
}

#[test]
fn a_large_maglev_is_even_and_moves_little() {
    check_maglev(&addresses(1200), 600, 0.05);
}

/// Where the number of endpoints passes the first size, the second one is used.
#[test]
fn a_table_has_more_than_a_hundred_slots_for_each() {
    let slots = |count| Maglev::new(&addresses(count)).slots().count();
    assert_eq!([1, 163, 164, 1310, 1311].map(slots), [16_381, 16_381, 131_071, 131_071, 1_048_573]);
    assert_eq!(slots(0), 0);
    assert_eq!(Maglev::new(&[]).first(&Client::ANY, |_| true), None);
}

#[test]
fn a_source_hash_is_even() {
    let balancer = balancer(Balancing::SourceHash, &addresses(10));
    let mut counts = [0; 10];
    clients(20_000).for_each(|c| counts[pick(&balancer, &c, &Fake::good(10)).unwrap()] += 1);
    // Four deviations of a binomial distribution.
    assert!(counts.iter().all(|count| (1830..=2170).contains(count)), "{counts:?}");
}

#[test]
fn weights_of_shares_hold_over_clients() {
    let weights = [1, 0, 2, 5];
    let keys = ["a", "b", "c", "d"].map(|name| ShareKey::of(name, 0));
    let mut counts = [0; 4];
    for client in clients(16_000) {
        counts[client.share(keys.into_iter().zip(weights)).unwrap()] += 1;
    }
    let exact = weights.map(|weight| weight as i32 * 2000);
    assert!(counts.iter().zip(exact).all(|(c, e)| (*c - e).abs() < 260), "{counts:?}");
    assert_eq!(clients(1).next().unwrap().share(keys.into_iter().zip([0; 4])), None);
}

/// By the whole address: neighbours of one /64 go to different endpoints; the port does not matter.
#[test]
fn clients_of_ipv6_are_told_apart_by_their_whole_address() {
    let balancer = balancer(Balancing::SourceHash, &addresses(10));
    let picked = |n: u16| {
        let address: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
        pick(&balancer, &Client::of(address), &Fake::good(10)).unwrap()
    };
    let mut seen: Vec<_> = (0..200).map(picked).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10);
}

#[test]
fn of_two_the_one_with_fewer_connections() {
    let balancer = balancer(Balancing::LeastConnections, &addresses(2));
    let mut endpoints = Fake::good(2);
    let mut random = Random::seeded(1);
    for _ in 0..1000 {
        let place = balancer.pick(&Client::ANY, &endpoints, &mut 0, &mut random).unwrap();
        assert!(endpoints.0[place].1 <= endpoints.0[1 - place].1);
        endpoints.0[place].1 += 1;
    }
    assert_eq!(endpoints.0[0].1, endpoints.0[1].1);
}

/// Two choices keep the busiest close to the others (log log n, Mitzenmacher 2001); one would not.
#[test]
fn two_choices_are_nearly_even() {
    let balancer = balancer(Balancing::LeastConnections, &addresses(100));
    let mut endpoints = Fake::good(100);
    let mut random = Random::seeded(3);
    for _ in 0..10_000 {
        let place = balancer.pick(&Client::ANY, &endpoints, &mut 0, &mut random).unwrap();
        endpoints.0[place].1 += 1;
    }
    let most = endpoints.0.iter().map(|(_, open)| *open).max().unwrap();
    assert!(most <= 105, "{most} of a mean of 100");
}

#[test]
fn round_robin_takes_turns() {
    let balancer = balancer(Balancing::RoundRobin, &addresses(3));
    let (mut turn, mut random) = (4, Random::seeded(0));
    let mut endpoints = Fake::good(3);
    let mut next =
        |endpoints: &Fake| balancer.pick(&Client::ANY, endpoints, &mut turn, &mut random).unwrap();
    assert_eq!([(); 4].map(|()| next(&endpoints)), [1, 2, 0, 1]);
    endpoints.0[2].0 = Standing::Unhealthy;
    assert_eq!([(); 4].map(|()| next(&endpoints)), [0, 1, 0, 1]);
}

/// Where most of many are ejected, the one that is left gets not even a quarter of it all (each that comes
/// before it within reach passes its turn on, the others are asked); where checks say it, nobody else is asked.
#[test]
fn what_is_left_of_many_is_not_buried() {
    let balancer = balancer(Balancing::RoundRobin, &addresses(8));
    for (standing, expected) in [(Standing::Ejected, 16), (Standing::Unhealthy, 80)] {
        let mut endpoints = Fake(vec![(standing, 0); 8]);
        endpoints.0[3].0 = Standing::Good;
        let (mut turn, mut random) = (0, Random::seeded(0));
        let mut pick = || balancer.pick(&Client::ANY, &endpoints, &mut turn, &mut random).unwrap();
        let got = (0..80).filter(|_| pick() == 3).count();
        assert!((got as i32 - expected).abs() <= 1, "{standing:?}: {got}");
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_client_stays_until_it_was_away_for_too_long() {
    let (affinity, start) = (Affinity::default(), Instant::now());
    let all = addresses(3);
    let client = Client::of([192, 0, 2, 1].into());
    let at = |place: usize, minutes: u64, there: bool| {
        let now = start + Duration::from_secs(60 * minutes);
        let find = |address| all.iter().position(|a| *a == address).filter(|_| there);
        affinity.endpoint(&client, now, HOUR, find, || Some((place, all[place])))
    };
    assert_eq!(at(2, 0, true), Some(2));
    // It is the last connection that counts.
    assert_eq!(at(0, 59, true), Some(2));
    assert_eq!(at(0, 118, true), Some(2));
    assert_eq!(at(0, 178, true), Some(0));
    // One that does not take connections any more loses it for good.
    assert_eq!(at(1, 179, false), Some(1));
    assert_eq!(at(0, 180, true), Some(1));
    affinity.note(&client, all[2], start + Duration::from_secs(60 * 180), HOUR);
    assert_eq!(at(0, 181, true), Some(2));
    assert_eq!(affinity.len(), 1);
    let none = affinity.endpoint(&client, start + 9 * HOUR, HOUR, |_| None, || None);
    assert_eq!(none, None);
}

#[test]
fn who_was_heard_longest_ago_is_forgotten_first() {
    let (affinity, start) = (Affinity::default(), Instant::now());
    let all = addresses(2);
    let first = Client::of([203, 0, 113, 1].into());
    let hear = |client: &Client, now| {
        affinity.endpoint(
            client,
            now,
            HOUR,
            |a| all.iter().position(|b| *b == a),
            || Some((0, all[0])),
        )
    };
    affinity.note(&first, all[1], start, HOUR);
    for (round, client) in clients(200_000).enumerate() {
        hear(&client, start);
        if round % 1000 == 0 {
            // Heard again and again, it stays.
            assert_eq!(hear(&first, start), Some(1), "after {round}");
        }
    }
    assert!(affinity.len() <= 65_536, "{}", affinity.len());
    assert!(affinity.len() > 60_000, "{}", affinity.len());
    let earliest = clients(1).next().unwrap();
    assert_eq!(
        affinity.endpoint(&earliest, start, HOUR, |_| Some(1), || Some((0, all[0]))),
        Some(0)
    );
    // Later all of them are old, and go as others come.
    for client in clients(2000) {
        hear(&client, start + 2 * HOUR);
    }
    assert!(affinity.len() <= 2000, "{}", affinity.len());
}
