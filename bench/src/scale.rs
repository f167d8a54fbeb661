//! Very many routes in one process without a cluster: how soon it serves, how soon it obeys a change, what
//! others notice of that, and what it takes.
//!
//! ```text
//!   a machine of the lab:  this program ── 127.64.x.y:20000+n ── vipgate run ── 127.0.0.1 ── this program
//!                          (clients)       (a VIP per Gateway)                  (two servers, "a" and "b")
//! ```
//!
//! A change is a Backend in the file of one Gateway that moves from one server to the other; it counts as
//! effective when a new connection to the listener is answered by the other. Meanwhile a connection stands on
//! each of many other listeners and is asked again and again: a reset or a stall would show there.

mod clients;
mod manifests;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use vipgate_lab::{Lab, Node, Process, Program};

use crate::args::ScaleArgs;
use crate::cpu;
use clients::{Servers, Standing, answer};
use manifests::Manifests;

/// Until all of it is served, at most.
const PATIENCE: Duration = Duration::from_secs(120);
/// Until one change is obeyed, at most.
const CHANGE: Duration = Duration::from_secs(10);
/// How long a process is watched at rest.
const REST: Duration = Duration::from_secs(10);

/// Measures, and prints what came out.
pub(crate) fn run(args: &ScaleArgs) -> Result<()> {
    let lab = Lab::new("scale")?;
    let many = lab.node("many")?;
    many.sysctl("net.core.somaxconn", "4096")?;
    many.enter(|| crowd(args, &many))?;
    let few = lab.node("few")?;
    few.enter(|| rest(args, &few))
}

/// A vipgate with its manifests.
struct Running {
    process: Process,
    manifests: Manifests,
    _directory: TempDir,
}

impl Running {
    fn start(args: &ScaleArgs, node: &Node, manifests: Manifests) -> Result<Self> {
        let directory = TempDir::new()?;
        let own = |name: &str| directory.path().join(name);
        let program = Program::new(&args.vipgate).arg("run").arg(manifests.directory());
        let program = program.args(["--workers", "2", "--state"]).arg(own("state"));
        let process = node.spawn(program.arg("--admin").arg(own("admin")))?;
        Ok(Self { process, manifests, _directory: directory })
    }

    /// CPU seconds so far.
    fn cpu(&self) -> Result<f64> {
        cpu::seconds(&[self.process.pid()])
    }

    /// CPU seconds so far of all threads that do not forward.
    fn planning(&self) -> Result<f64> {
        cpu::seconds_of(&[self.process.pid()], |name| {
            !name.starts_with("proxy-") && !name.starts_with("udp-")
        })
    }

    /// Memory, in MiB.
    fn memory(&self) -> Result<f64> {
        Ok(cpu::resident(&[self.process.pid()])? as f64 / 1024.0)
    }

    /// Waits until every listener answers.
    fn wait(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        for place in self.manifests.places() {
            while answer(place).is_none() {
                ensure!(Instant::now() < end, "{place} does not answer\n{}", self.process.tail());
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

fn crowd(args: &ScaleArgs, node: &Node) -> Result<()> {
    let servers = Servers::start()?;
    let manifests = Manifests::write(args.routes, servers.ports())?;
    println!("{} routes on {} VIPs", args.routes, manifests.gateways());
    let start = Instant::now();
    let mut running = Running::start(args, node, manifests)?;
    running.wait()?;
    say("all served after a cold start, s", start.elapsed().as_secs_f64());
    say("CPU until then, s", running.cpu()?);
    say("memory then, MiB", running.memory()?);
    // What comes of the first reports is over.
    thread::sleep(Duration::from_secs(2));
    at_rest(&running)?;

    let crowd: Vec<SocketAddr> =
        running.manifests.others().step_by(args.routes / 200 + 1).collect();
    let standing = Standing::start(&crowd)?;
    let before = (running.cpu()?, running.planning()?);
    let mut took = Vec::new();
    for change in 0..args.changes {
        // Mostly on another Gateway than the last one.
        let gateway = change * 7 % running.manifests.gateways();
        let (place, expected) = running.manifests.change(gateway)?;
        let start = Instant::now();
        while answer(place) != Some(expected) {
            ensure!(start.elapsed() < CHANGE, "{place} does not obey\n{}", running.process.tail());
            thread::sleep(Duration::from_micros(500));
        }
        took.push(start.elapsed().as_secs_f64() * 1e3);
        // Out of step with whatever there is of timers.
        thread::sleep(Duration::from_millis(150 + (change as u64 * 37) % 100));
    }
    let each = |seconds: f64| seconds / args.changes as f64 * 1e3;
    let spent = each(running.cpu()? - before.0);
    let planning = each(running.planning()? - before.1);
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took[((took.len() - 1) as f64 * part).round() as usize];
    println!("one changed route, {} times", took.len());
    for (name, part) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("worst", 1.0)] {
        say(&format!("effective, {name}, ms"), at(part));
    }
    say("CPU for each, ms", planning);
    say("and with what is forwarded meanwhile", spent);
    let standing = standing.end();
    println!("{} connections on other listeners meanwhile", crowd.len());
    say("lost", standing.lost as f64);
    say("echoes", standing.echoes as f64);
    say("slowest echo, ms", standing.slowest.as_secs_f64() * 1e3);
    say("memory at the end, MiB", running.memory()?);
    Ok(())
}

/// A process with a hundred listeners.
fn rest(args: &ScaleArgs, node: &Node) -> Result<()> {
    let servers = Servers::start()?;
    println!("100 routes on 10 VIPs");
    let running = Running::start(args, node, Manifests::write(100, servers.ports())?)?;
    running.wait()?;
    thread::sleep(Duration::from_secs(2));
    at_rest(&running)
}

fn at_rest(running: &Running) -> Result<()> {
    let before = running.cpu()?;
    thread::sleep(REST);
    let spent = running.cpu()? - before;
    say("at rest: memory, MiB", running.memory()?);
    say("at rest: CPU, % of a core", spent / REST.as_secs_f64() * 100.0);
    Ok(())
}

fn say(what: &str, value: f64) {
    println!("  {what:<40} {value:>10.3}");
}

/// Puts a file in the place of another, as a whole.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}
