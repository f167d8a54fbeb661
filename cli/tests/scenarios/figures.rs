//! How long a client waits when the owner of a VIP is lost, beside keepalived on the same machines in
//! the same run. A measurement: `docs/performance.md` has its figures.

use std::fs;
use std::time::{Duration, Instant};

use vipgate_lab::{Process, Program};

use crate::hosts::{Hosts, Outcome};
use crate::site::VIP;

/// What keepalived has.
const THEIRS: &str = "10.77.0.150";
/// How often each is done, unless `VIPGATE_RUNS` says.
const RUNS: usize = 50;

/// What is promised of a host that is lost.
pub(crate) const PROMISE: Duration = Duration::from_millis(1_200);
/// Of one that ends in order.
pub(crate) const IN_ORDER: Duration = Duration::from_millis(50);
/// Of one whose link fails while the group talks over another one.
pub(crate) const CARRIER: Duration = Duration::from_millis(300);
/// Of a thousand VIPs, the last one.
const THOUSAND: Duration = Duration::from_secs(2);

/// Prints median and worst, in milliseconds; returns both.
pub(crate) fn sum_up(what: &str, mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let milliseconds = |time: Duration| time.as_millis();
    eprintln!(
        "| {what} | {} ms | {} ms | {} |",
        milliseconds(middle),
        milliseconds(worst),
        times.len()
    );
    (middle, worst)
}

pub(crate) fn runs() -> usize {
    std::env::var("VIPGATE_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"))
}

/// The gap that a client sees while `lose` happens, and how often it was refused. No VIP may have more
/// than one owner on the wire meanwhile.
pub(crate) fn gap(
    hosts: &mut Hosts,
    vip: &str,
    lose: impl FnOnce(&mut Hosts),
) -> (Duration, usize) {
    let wire = hosts.listen();
    let prober = hosts.probe(vip);
    std::thread::sleep(Duration::from_millis(300));
    lose(hosts);
    let lost = Instant::now();
    // Until well after it answers again, and not for ever.
    while lost.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(100));
        if prober.good_since(lost) {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let (gap, attempts) = prober.stop();
    hosts.assert_owners(&wire.stop().unwrap(), 2);
    (gap, attempts.iter().filter(|attempt| attempt.outcome == Outcome::Refused).count())
}

/// The rows of the table for so many hosts and VIPs.
fn rows(count: usize, vips: u16) {
    losses(count, vips);
    orderly_ends(count, vips);
}

/// A process that is killed, a host without power.
fn losses(count: usize, vips: u16) {
    let mut hosts = Hosts::new("losses", count, vips);
    hosts.start_all();
    let (mut killed, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..runs() {
        let owner = hosts.owner(VIP);
        killed.push(gap(&mut hosts, VIP, |hosts| hosts.kill(owner)).0);
        hosts.start(owner);
        let owner = hosts.owner(VIP);
        lost.push(
            gap(&mut hosts, VIP, |hosts| {
                hosts.hosts[owner].link.cut_silently().unwrap();
                hosts.kill(owner);
            })
            .0,
        );
        hosts.hosts[owner].link.restore().unwrap();
        hosts.start(owner);
    }
    let (_, worst) = sum_up(&format!("{count} hosts, {vips} VIPs: `kill -9`"), killed);
    assert!(worst <= PROMISE, "{worst:?}");
    let (middle, worst) = sum_up(&format!("{count} hosts, {vips} VIPs: power loss"), lost);
    assert!(middle <= Duration::from_millis(700) && worst <= PROMISE, "{middle:?} {worst:?}");
}

fn orderly_ends(count: usize, vips: u16) {
    let mut hosts = Hosts::new("ends", count, vips);
    hosts.start_all();
    let mut ended = Vec::new();
    for _ in 0..runs() {
        let owner = hosts.owner(VIP);
        let (gap, refused) = gap(&mut hosts, VIP, |hosts| hosts.terminate(owner));
        assert_eq!(refused, 0, "connections were refused while a host ended in order");
        ended.push(gap);
        hosts.start(owner);
    }
    let (_, worst) = sum_up(&format!("{count} hosts, {vips} VIPs: SIGTERM"), ended);
    assert!(worst <= IN_ORDER, "{worst:?}");
}

/// A link that fails while the group talks over another one.
fn carrier(count: usize, vips: u16) {
    let mut hosts = Hosts::new("carriers", count, vips);
    hosts.manage();
    hosts.start_all();
    let mut failed = Vec::new();
    for _ in 0..runs() {
        let owner = hosts.owner(VIP);
        failed.push(gap(&mut hosts, VIP, |hosts| hosts.hosts[owner].link.cut().unwrap()).0);
        hosts.hosts[owner].link.restore().unwrap();
        hosts.settled();
    }
    let (_, worst) = sum_up(&format!("{count} hosts, {vips} VIPs: no carrier"), failed);
    assert!(worst <= CARRIER, "{worst:?}");
}

/// When the last of these VIPs is served.
fn last_served(hosts: &Hosts, vips: &[String], since: Instant) -> Duration {
    let mut left: Vec<&String> = vips.iter().collect();
    while !left.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(30), "nobody serves {left:?}");
        left.retain(|vip| !hosts.is_served(vip));
    }
    since.elapsed()
}

/// How long each VIP of a host is without one that serves it, when that host is lost.
fn thousand() {
    const VIPS: u16 = 1_000;
    let mut hosts = Hosts::new("thousand", 3, VIPS);
    hosts.start_all();
    let mut all = Vec::new();
    for _ in 0..runs().div_ceil(10) {
        let before = hosts.settled_within(Duration::from_secs(60));
        let owner = hosts.owner(VIP);
        let name = hosts.hosts[owner].node.name().to_owned();
        let lost: Vec<String> =
            before.into_iter().filter_map(|(vip, owner)| (owner == name).then_some(vip)).collect();
        assert!(lost.len() > usize::from(VIPS) / 6, "{name} has {} VIPs", lost.len());
        hosts.hosts[owner].link.cut_silently().unwrap();
        hosts.kill(owner);
        let at = Instant::now();
        // A client waits 20 ms for a VIP that nobody serves; many of them see each VIP often enough.
        let last = std::thread::scope(|scope| {
            let clients: Vec<_> = (lost.chunks(8))
                .map(|vips| scope.spawn(|| last_served(&hosts, vips, at)))
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).max()
        });
        all.push(last.expect("some were lost"));
        hosts.hosts[owner].link.restore().unwrap();
        hosts.start(owner);
    }
    let (_, worst) = sum_up("3 hosts, 1,000 VIPs: power loss, the last VIP", all);
    assert!(worst <= THOUSAND, "{worst:?}");
}

#[test]
#[ignore = "takes half an hour: make lab"]
fn long_fail_over_beside_keepalived() {
    eprintln!("| what | median | worst | runs |\n|---|---|---|---|");
    rows(3, 100);
    carrier(3, 100);
    keepalived();
}

#[test]
#[ignore = "takes half an hour: make lab"]
fn long_fail_over_of_ten_hosts() {
    carrier(10, 100);
    losses(10, 100);
}

#[test]
#[ignore = "takes ten minutes: make lab"]
fn long_orderly_ends_of_ten_hosts() {
    orderly_ends(10, 100);
}

#[test]
#[ignore = "takes minutes: make lab"]
fn long_fail_over_of_a_thousand_vips() {
    thousand();
}

fn keepalived() {
    let runs = runs();
    for (name, globals, interval) in
        [("default", "", "1"), ("VRRPv3, 100 ms", "vrrp_version 3", "0.1")]
    {
        let mut hosts = Hosts::new("keepalived", 3, 1);
        let _servers: Vec<_> = (hosts.hosts.iter())
            .map(|host| {
                vipgate_lab::servers::echo(&host.node, "0.0.0.0:80".parse().unwrap(), "hello")
                    .unwrap()
            })
            .collect();
        let scratch = tempfile::tempdir().unwrap();
        let start = |hosts: &Hosts, number: usize| -> Process {
            let directory = scratch.path().join(number.to_string());
            fs::create_dir_all(&directory).unwrap();
            let configuration = directory.join("keepalived.conf");
            let text = format!(
                "global_defs {{ {globals} }}\n\
                 vrrp_instance one {{ state BACKUP\ninterface eth0\nvirtual_router_id 51\n\
                 priority {}\nadvert_int {interval}\nnopreempt\n\
                 virtual_ipaddress {{ {THEIRS}/16 }} }}\n",
                100 + number
            );
            fs::write(&configuration, text).unwrap();
            let program = Program::new("keepalived").args(["--dont-fork", "--vrrp", "--use-file"]);
            let program = program.arg(&configuration).arg("--pid").arg(directory.join("pid"));
            let program = program.arg("--vrrp_pid").arg(directory.join("vrrp.pid"));
            hosts.hosts[number].node.spawn(program).unwrap()
        };
        let mut processes: Vec<Option<Process>> =
            (0..3).map(|number| Some(start(&hosts, number))).collect();
        let owner = |hosts: &Hosts| {
            vipgate_lab::eventually(Duration::from_secs(20), || {
                let has = |host: &crate::hosts::Host| {
                    let shown = host.node.run("ip", ["-o", "addr", "show", "dev", "eth0"])?;
                    anyhow::Ok(shown.contains(&format!(" {THEIRS}/")))
                };
                let owners: Vec<bool> = hosts.hosts.iter().map(has).collect::<Result<_, _>>()?;
                anyhow::ensure!(owners.iter().filter(|has| **has).count() == 1, "{owners:?}");
                owners.iter().position(|has| *has).ok_or_else(|| anyhow::anyhow!("nobody"))
            })
            .unwrap()
        };
        let mut lost = Vec::new();
        for _ in 0..runs {
            let number = owner(&hosts);
            let (gap, _) = gap(&mut hosts, THEIRS, |hosts| {
                hosts.hosts[number].link.cut_silently().unwrap();
            });
            lost.push(gap);
            processes[number].take().unwrap().terminate(Duration::from_secs(10)).unwrap();
            hosts.hosts[number].link.restore().unwrap();
            processes[number] = Some(start(&hosts, number));
            std::thread::sleep(Duration::from_secs(4));
        }
        sum_up(&format!("keepalived, {name}: power loss"), lost);
    }
}
