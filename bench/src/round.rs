//! The comparison: rounds of workloads, each with every peer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipgate_lab::{Program, enter};

use crate::args::RunArgs;
use crate::cpu;
use crate::load::{Outcome, iperf};
use crate::peers::{Peer, Running};
use crate::report::{Figure, Report};
use crate::service::Kind;
use crate::site::{Site, this};
use crate::workload::{Measure, Workload};

/// Runs all of it and prints what came out.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    enter::in_namespaces()?;
    ensure!(
        args.vipgate.is_file(),
        "{} is not there: make it with `cargo build --release -p vipgate-cli`",
        args.vipgate.display()
    );
    let vipgate = args.vipgate.canonicalize()?;
    let site = Site::new()?;
    let or_all =
        |chosen: &[Peer]| if chosen.is_empty() { Peer::ALL.to_vec() } else { chosen.to_vec() };
    let mut peers = or_all(&args.peers)
        .into_iter()
        .map(|peer| Running::start(peer, &site, args.threads, &vipgate))
        .collect::<Result<Vec<_>>>()?;
    let workloads = match args.workloads.as_slice() {
        [] => <Workload as clap::ValueEnum>::value_variants().to_vec(),
        chosen => chosen.to_vec(),
    };
    let mut report = Report::new(args.threads, peers.iter().map(|p| (p.peer, p.version.clone())));
    for round in 0..args.rounds {
        for workload in &workloads {
            for step in 0..peers.len() {
                // Another one begins each round.
                let place = (step + round) % peers.len();
                let running = &mut peers[place];
                if !workload.is_for(running.peer) {
                    continue;
                }
                let ready = match workload {
                    Workload::Idle => running.renew(&site, args.threads, &vipgate),
                    _ => Ok(()),
                };
                let peer = running.peer;
                match ready.and_then(|()| measure(&site, running, *workload, args.seconds)) {
                    Ok(figure) => report.add(round, *workload, peer, figure),
                    Err(error) => {
                        eprintln!("round {round}, {workload:?}, {}: {error:#}", peer.name());
                        report.failed(*workload, peer);
                    }
                }
            }
        }
        eprintln!("round {} of {} is done", round + 1, args.rounds);
    }
    print!("{}", report.tables());
    if let Some(directory) = &args.write {
        report.write(directory)?;
    }
    Ok(())
}

/// One measurement.
fn measure(site: &Site, running: &Running, workload: Workload, seconds: f64) -> Result<Figure> {
    let target = running.peer.front(workload.service().port);
    let pids = running.pids();
    let load = match workload {
        Workload::Iperf1 | Workload::Iperf8 => {
            iperf::client(&target, workload.connections(), seconds)?
        }
        _ => {
            let name = clap::ValueEnum::to_possible_value(&workload).expect("none is hidden");
            let load = Program::new(this()?).args(["load", name.get_name(), &target]);
            load.arg(seconds.to_string()).arg(site.identity.certificate())
        }
    };
    if workload == Workload::Idle {
        return idle(site, load, &pids, workload);
    }
    let before = cpu::seconds(&pids)?;
    let text = site.client.run_within(Duration::from_secs_f64(seconds + 30.0), load)?;
    let used = cpu::seconds(&pids)? - before;
    let outcome: Outcome = match workload {
        Workload::Iperf1 | Workload::Iperf8 => iperf::outcome(&text)?,
        _ => serde_json::from_str(text.trim()).context("the load's output")?,
    };
    ensure!(outcome.failed == 0, "{} of {} failed", outcome.failed, outcome.done);
    ensure!(outcome.done > 0, "nothing was done");
    let done = outcome.done as f64;
    let (value, cpu) = match workload.measure() {
        Measure::Bytes => (done * 8.0 / 1e9 / outcome.seconds, used / (done / 1e9)),
        Measure::Latency => (outcome.p50, used * 1e6 / done),
        Measure::Times | Measure::Memory => (done / outcome.seconds, used * 1e6 / done),
    };
    let cpu = running.peer.is_program().then_some(cpu);
    let lost = outcome.lost as f64;
    let lost = (workload.service().kind == Kind::Udp).then_some(100.0 * lost / (done + lost));
    Ok(Figure { value, cpu, p99: (outcome.p99 > 0.0).then_some(outcome.p99), lost })
}

/// What connections cost that do nothing.
fn idle(site: &Site, load: Program, pids: &[u32], workload: Workload) -> Result<Figure> {
    let before = cpu::resident(pids)?;
    let process = site.client.spawn(load)?;
    process.wait_for_line("holding", Duration::from_secs(30))?;
    let after = cpu::resident(pids)?;
    let each = after.saturating_sub(before) as f64 / workload.connections() as f64;
    Ok(Figure { value: each, cpu: None, p99: None, lost: None })
}
