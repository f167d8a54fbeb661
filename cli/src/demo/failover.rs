//! The last scene: three nodes share the VIPs of an example, and the one that has a VIP is killed.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use vipgate_lab::{Lab, Link, Node, Process, Program, eventually};
use vipgate_speaker::group::GroupKey;

use super::{READY, STOP, client, name_of, servers};
use crate::status::report::StatusReport;

const NODES: [(&str, &str); 3] =
    [("node-a", "10.77.0.11"), ("node-b", "10.77.0.12"), ("node-c", "10.77.0.13")];
/// What the promise is; the client usually waits for half of it.
const PROMISE: Duration = Duration::from_millis(1_200);

struct Member {
    node: Node,
    link: Link,
    process: Process,
    ask: Program,
}

impl Member {
    /// Starts vipgate on a node, as one of three.
    fn start(node: Node, link: Link, directory: &Path, key: &Path, example: &Path) -> Result<Self> {
        let program = Program::new(std::env::current_exe()?);
        let admin = directory.join("admin.sock");
        let mut run = program.clone().args(["run", "--node"]).arg(node.name());
        run = run.arg("--state").arg(directory.join("state.json")).arg("--admin").arg(&admin);
        run = run.arg("--group-key").arg(key);
        for (_, address) in NODES {
            run = run.args(["--peer", address]);
        }
        let process = node.spawn(run.arg(example))?;
        let ask = program.args(["status", "-o", "report", "--admin"]).arg(&admin);
        Ok(Self { node, link, process, ask })
    }

    fn report(&self) -> Result<StatusReport> {
        Ok(serde_json::from_str(&self.node.run_within(STOP, self.ask.clone())?)?)
    }
}

/// Shows it with one example; fails when the client has to wait for longer than is promised.
pub(super) fn show(example: &Path) -> Result<()> {
    println!("\n▶ three nodes that share the VIPs of {}", name_of(example));
    let lab = Lab::new("demo")?;
    let lan = lab.bridge("lan")?;
    let (watcher, machine) = (lab.node("client")?, lab.node("servers")?);
    let _on_client = watcher.join(&lan, "10.77.0.10/24")?;
    let on_servers = machine.join(&lan, "10.77.0.2/24")?;
    let _running = servers::start(&machine, &on_servers, example)?;
    let scratch = tempfile::tempdir()?;
    let key = scratch.path().join("key");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
    writeln!(file, "{}", GroupKey::random()?.to_text())?;
    let mut members = Vec::new();
    for (name, address) in NODES {
        let node = lab.node(name)?;
        let link = node.join(&lan, &format!("{address}/24"))?;
        let directory = scratch.path().join(name);
        fs::create_dir(&directory)?;
        members.push(Member::start(node, link, &directory, &key, example)?);
    }
    let outcome = take_over(&watcher, &mut members);
    if outcome.is_err() {
        for member in &members {
            println!("{}", member.process.tail());
        }
    }
    outcome
}

fn take_over(watcher: &Node, members: &mut [Member]) -> Result<()> {
    let to = eventually(READY, || settled(members))?;
    let owner = member_at(watcher, members, to.ip())?;
    println!("  client: {} is at {}, the others stand by", to.ip(), members[owner].node.name());
    client::greeting(watcher, to)?;
    members[owner].process.kill();
    let killed = Instant::now();
    let greeting = loop {
        match client::greeting_within(watcher, to, Duration::from_millis(20)) {
            Ok(greeting) => break greeting,
            Err(error) if killed.elapsed() > READY => bail!("nobody took over: {error:#}"),
            Err(_) => {}
        }
    };
    let waited = killed.elapsed();
    let next = member_at(watcher, members, to.ip())?;
    ensure!(next != owner, "the dead node still answers");
    println!(
        "  client: {} was killed; after {} ms {to} → {greeting}, by {}",
        members[owner].node.name(),
        waited.as_millis(),
        members[next].node.name()
    );
    ensure!(waited <= PROMISE, "{waited:?} is longer than the {PROMISE:?} that are promised");
    Ok(())
}

/// A listener of a VIP, once no node has a problem and all agree on who announces the VIPs.
fn settled(members: &[Member]) -> Result<SocketAddr> {
    let mut first = None;
    for member in members {
        let report = member.report()?;
        let problems: Vec<_> = report.problems.iter().map(|p| p.message.as_str()).collect();
        ensure!(problems.is_empty(), "{}: {}", member.node.name(), problems.join("; "));
        let vip = report.vips.first().context("no VIP yet")?;
        ensure!(report.vips.iter().all(|vip| vip.healthy), "a VIP is not announced yet");
        let listener = vip.listeners.first().context("no listener")?;
        first = Some(SocketAddr::new(vip.address, listener.port));
    }
    first.context("no node")
}

/// Which node the client's kernel finds behind a VIP.
fn member_at(watcher: &Node, members: &[Member], vip: IpAddr) -> Result<usize> {
    let mac = client::who_has(watcher, vip)?;
    let found = members.iter().position(|member| member.link.mac().to_string() == mac);
    found.with_context(|| format!("{vip} is at {mac}, which is no node"))
}
