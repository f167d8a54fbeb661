//! The figures of `docs/performance.md`, section "Scale in a cluster": `make figures`, a release build.
//!
//! How fast an API server takes statuses depends on the machine, and here it shares the two cores with
//! everything else. So in the same run a bare client writes as many statuses to the same server, and what
//! the controller takes is told beside that.

use std::time::{Duration, Instant};

use super::process::{self, Usage};
use super::{Crowd, Size, requests};
use crate::site::{NAMESPACE, SOON, Site, backend, gateway, route};

/// What is promised of 10,000 routes on 1,000 Gateways.
const COLD: Duration = Duration::from_secs(60);
const ONE: Duration = Duration::from_secs(1);
const MEMORY: u64 = 300_000_000;
/// What memory may grow by in a hundred changes.
const GROWTH: u64 = 4_000_000;
/// And of a speaker with 100 listeners that has nothing to do.
const AT_REST: u64 = 25_000_000;
const BUSY: f64 = 0.005;

/// Single changes, one after the other.
const CHANGES: usize = 100;

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[test]
#[ignore = "a measurement: make figures"]
fn long_ten_thousand_routes() {
    let crowd = Crowd::new("scale", Size { gateways: 1_000, listeners: 10, services: 2_000 });
    let servers = crowd.site.cluster.pids();
    let before = servers.map(process::cpu);
    // What takes longer than is promised is a figure, too.
    let cold = crowd.start_cold(COLD * 10);
    let servers: Vec<Duration> =
        servers.iter().zip(before).map(|(pid, before)| process::cpu(*pid) - before).collect();
    eprintln!(
        "| from cold to the last of {} route statuses | {:.1?} |",
        crowd.size.routes(),
        cold.routes
    );
    eprintln!(
        "| to the last of {} Gateway statuses | {:.1?} |",
        crowd.size.gateways, cold.gateways
    );
    eprintln!("| writes | {}: {} |", cold.writes.all(), cold.writes);
    let Usage { peak, memory, cpu, .. } = cold.usage;
    eprintln!("| memory at most, then | {:.0} MB, {:.0} MB |", megabytes(peak), megabytes(memory));
    eprintln!(
        "| CPU of the controller; of etcd, API server, its controllers | {cpu:.1?}; {servers:.1?} |"
    );

    let pid = cold.controller.pid();
    let start = Usage::of(pid);
    let mut changes = Vec::new();
    let began = Instant::now();
    for number in 0..CHANGES / 4 {
        changes.extend(crowd.lose_backend(number * 397 % crowd.size.routes()));
        for port in [20_000, 20_001] {
            changes.push(crowd.move_listener(number * 39 % crowd.size.gateways, port));
        }
    }
    let (took, end) = (began.elapsed(), Usage::of(pid));
    changes.sort_unstable();
    let [middle, late, worst] =
        [changes.len() / 2, changes.len() * 99 / 100 - 1, changes.len() - 1];
    let of = |place: usize| changes[place];
    eprintln!(
        "| {} changes one after the other, each to its status: p50, p99, worst | {:.0?}, {:.0?}, {:.0?} |",
        changes.len(),
        of(middle),
        of(late),
        of(worst)
    );
    let per_change = (end.cpu - start.cpu) / u32::try_from(changes.len()).unwrap();
    eprintln!("| CPU of the controller for one | {per_change:.1?} (all took {took:.1?}) |");
    let [start, end] = [start.anonymous, end.anonymous].map(megabytes);
    eprintln!("| memory before and after (anonymous) | {start:.1} MB, {end:.1} MB |");

    let mut controller = cold.controller;
    controller.terminate(SOON).unwrap();
    let account = crowd.site.cluster.kubeconfig_of(NAMESPACE, "vipgate-controller").unwrap();
    let bare = requests::write_statuses(&crowd.site, &account);
    eprintln!(
        "| a bare client: {} route statuses | {bare:.1?}; the controller took {:.2} times as long for {:.2} \
         times as many writes |",
        crowd.size.routes(),
        cold.routes.max(cold.gateways).as_secs_f64() / bare.as_secs_f64(),
        cold.writes.all() as f64 / crowd.size.routes() as f64,
    );
    assert!(cold.routes <= COLD && cold.gateways <= COLD, "{:?} {:?}", cold.routes, cold.gateways);
    assert!(of(late) <= ONE, "{:?}", of(late));
    assert!(peak <= MEMORY, "{peak}");
    assert!((end - start) <= megabytes(GROWTH), "{start} {end}");
}

#[test]
#[ignore = "a measurement: make figures"]
fn long_a_speaker_at_rest() {
    const MEASURED: Duration = Duration::from_secs(60);
    let site = Site::new("rest");
    site.apply(crate::site::CLASS);
    site.apply(&crate::site::pool("10.77.0.200-10.77.0.219"));
    let _controller = site.controller("one");
    let speaker = site.speaker();
    let _echo = site.echo(7000, "rest");
    site.apply(&backend("web", 7000));
    let listeners: Vec<(String, u16)> = (0..10).map(|n| (format!("tcp-{n}"), 8000 + n)).collect();
    let listeners: Vec<(&str, u16)> =
        listeners.iter().map(|(n, port)| (n.as_str(), *port)).collect();
    for number in 0..10 {
        let name = format!("web-{number}");
        site.apply(&gateway(&name, &listeners));
        site.apply(&route("v1", &name, &name, "web"));
    }
    for number in 0..10 {
        site.condition("gateway", &format!("web-{number}"), "Programmed", "True/Programmed");
    }
    let vips = site.cluster.get(["vips"]).unwrap();
    for vip in vips["items"].as_array().unwrap() {
        let address = vip["spec"]["address"].as_str().unwrap();
        assert_eq!(site.greeting(&format!("{address}:8009")).unwrap(), "rest");
    }
    std::thread::sleep(Duration::from_secs(5));
    let before = Usage::of(speaker.pid());
    std::thread::sleep(MEASURED);
    let after = Usage::of(speaker.pid());
    let busy = (after.cpu - before.cpu).as_secs_f64() / MEASURED.as_secs_f64();
    eprintln!(
        "| a speaker at rest, 100 listeners | {:.1} MB ({:.1} MB anonymous), {:.2} % of a core |",
        megabytes(after.memory),
        megabytes(after.anonymous),
        100.0 * busy
    );
    assert!(after.memory <= AT_REST, "{after:?}");
    assert!(busy <= BUSY, "{busy}");
}
