use super::goals::{Limit, Verdict};
use super::*;

fn figure(value: f64, cpu: f64, p99: f64) -> Figure {
    Figure { value, cpu: Some(cpu), p99: Some(p99), lost: None }
}

fn report() -> Report {
    let peers = [Peer::Direct, Peer::Vipgate, Peer::Envoy, Peer::Haproxy];
    Report::new(2, peers.into_iter().map(|peer| (peer, peer.name().to_owned())))
}

fn goal(workload: Workload, of: Of, against: Against) -> Goal {
    Goal { workload, of, against, limit: Limit::AtLeast(1.0), beyond: false }
}

fn about(ratios: &[f64], expected: &[f64]) -> bool {
    ratios.len() == expected.len() && ratios.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9)
}

#[test]
fn only_what_was_measured_in_one_round_is_compared() {
    let mut report = report();
    for (round, value) in [(0, 10.0), (1, 20.0), (2, 30.0)] {
        report.add(round, Workload::Bulk8, Peer::Vipgate, figure(value, 1.0, 1.0));
    }
    for (round, value) in [(1, 10.0), (2, 10.0), (3, 10.0)] {
        report.add(round, Workload::Bulk8, Peer::Envoy, figure(value, 4.0, 1.0));
    }
    let against = Against::Peer(Peer::Envoy);
    let ratios = |of| report.goal_ratios(&goal(Workload::Bulk8, of, against));
    assert!(about(&ratios(Of::Value), &[2.0, 3.0]));
    assert!(about(&ratios(Of::Cpu), &[0.25, 0.25]));
    let none = goal(Workload::Bulk8, Of::Value, Against::Peer(Peer::Nginx));
    assert_eq!(report.goal_ratios(&none), Vec::<f64>::new());
}

#[test]
fn what_a_proxy_adds_is_what_is_more_than_without_one() {
    let mut report = report();
    let pings = Workload::Pings1;
    for (peer, value, p99) in [
        (Peer::Direct, 20.0, 50.0),
        (Peer::Vipgate, 50.0, 90.0),
        (Peer::Haproxy, 60.0, 100.0),
        (Peer::Envoy, 70.0, 60.0),
    ] {
        report.add(0, pings, peer, figure(value, 1.0, p99));
    }
    let added = goal(pings, Of::Added, Against::Peer(Peer::Haproxy));
    assert!(about(&report.goal_ratios(&added), &[0.75]));
    // The best of the programs, which the way without one is not.
    let best = goal(pings, Of::P99, Against::Best);
    assert!(about(&report.goal_ratios(&best), &[1.5]));
}

#[test]
fn what_passes_tls_through_is_compared_with_plain_tcp_of_its_own() {
    let mut report = report();
    report.add(0, Workload::Bulk1, Peer::Vipgate, figure(40.0, 0.1, 0.0));
    report.add(0, Workload::Bulk1, Peer::Envoy, figure(20.0, 0.2, 0.0));
    report.add(0, Workload::Through1, Peer::Vipgate, figure(38.0, 0.11, 0.0));
    let through = goal(Workload::Through1, Of::Value, Against::WithoutTls);
    assert!(about(&report.goal_ratios(&through), &[0.95]));
    assert!(report.tables().contains("| vipgate, plain TCP | 40.0 [40.0..40.0] | 0.95 |"));
}

/// A run that is long enough says of each goal where it stands; a short one that it is too short.
#[test]
fn the_table_says_what_is_reached() {
    let mut report = report();
    let fill = |report: &mut Report, rounds: usize| {
        for round in 0..rounds {
            let workload = Workload::Handshakes;
            report.add(round, workload, Peer::Vipgate, figure(900.0, 30.0, 0.0));
            report.add(round, workload, Peer::Envoy, figure(600.0, 50.0, 0.0));
            report.add(round, workload, Peer::Haproxy, figure(600.0, 20.0, 0.0));
        }
    };
    let line = |report: &Report, against: &str, verdict: Verdict| {
        let tables = report.tables();
        let (_, goals) = tables.split_once("**Goals**").unwrap();
        let name = verdict.name();
        goals.lines().any(|line| line.contains(against) && line.ends_with(&format!("| {name} |")))
    };
    fill(&mut report, 14);
    assert!(line(&report, "| Envoy |", Verdict::TooFewRounds), "{}", report.tables());
    fill(&mut report, 15);
    assert!(line(&report, "| Envoy |", Verdict::Reached), "{}", report.tables());
    assert!(line(&report, "| HAProxy |", Verdict::NotReached), "{}", report.tables());
}
