//! How long a client waits when the owner of a VIP is lost, beside keepalived on the same machines in
//! the same run. A measurement: `docs/performance.md` has its figures.

use std::fs;
use std::time::{Duration, Instant};

use vipgate_lab::{Process, Program};

use crate::hosts::Hosts;
use crate::site::VIP;

/// What keepalived has.
const THEIRS: &str = "10.77.0.150";
/// How often each is done, unless `VIPGATE_RUNS` says.
const RUNS: usize = 10;

/// What is promised of vipgate, however it ends.
const PROMISE: Duration = Duration::from_millis(1_200);

/// Prints median and worst, in milliseconds; returns the worst.
fn sum_up(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!(
        "| {what} | {} ms | {} ms | {} |",
        middle.as_millis(),
        worst.as_millis(),
        times.len()
    );
    worst
}

fn runs() -> usize {
    std::env::var("VIPGATE_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"))
}

/// The gap that a client sees while `lose` happens.
fn gap(hosts: &mut Hosts, vip: &str, lose: impl FnOnce(&mut Hosts)) -> Duration {
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
    prober.stop().0
}

#[test]
#[ignore = "takes minutes: make lab"]
fn long_fail_over_beside_keepalived() {
    let runs = runs();
    eprintln!("| what | median | worst | runs |\n|---|---|---|---|");
    for vips in [1, 100] {
        let mut hosts = Hosts::new("figures", 3, vips);
        hosts.start_all();
        let (mut killed, mut lost, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let owner = hosts.owner(VIP);
            killed.push(gap(&mut hosts, VIP, |hosts| hosts.kill(owner)));
            hosts.start(owner);
            hosts.settled();
            let owner = hosts.owner(VIP);
            lost.push(gap(&mut hosts, VIP, |hosts| {
                hosts.hosts[owner].link.cut_silently().unwrap();
                hosts.kill(owner);
            }));
            hosts.hosts[owner].link.restore().unwrap();
            hosts.start(owner);
            hosts.settled();
            let owner = hosts.owner(VIP);
            ended.push(gap(&mut hosts, VIP, |hosts| hosts.terminate(owner)));
            hosts.start(owner);
            hosts.settled();
        }
        for (how, times) in [("`kill -9`", killed), ("power loss", lost), ("SIGTERM", ended)] {
            let worst = sum_up(&format!("vipgate, {vips} VIPs: {how}"), times);
            assert!(worst <= PROMISE, "{how}: {worst:?}");
        }
    }
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
            lost.push(gap(&mut hosts, THEIRS, |hosts| {
                hosts.hosts[number].link.cut_silently().unwrap();
            }));
            processes[number].take().unwrap().terminate(Duration::from_secs(10)).unwrap();
            hosts.hosts[number].link.restore().unwrap();
            processes[number] = Some(start(&hosts, number));
            std::thread::sleep(Duration::from_secs(4));
        }
        sum_up(&format!("keepalived, {name}: power loss"), lost);
    }
}
