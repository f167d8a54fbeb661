//! `vipgate demo`: shows each example at work, in network namespaces that nobody else sees.
//!
//! ```text
//!   client ──┐
//!   node   ──┼── bridge 10.77.0.0/24      node runs `vipgate run EXAMPLE`
//!   servers ─┘                            servers has every endpoint of the example
//! ```
//!
//! After them, three nodes share one example's VIPs, and the one that has a VIP is killed.
//!
//! What is printed was observed from the client: its kernel's answer to "who has the VIP", and
//! the greeting of the server that a connection to the VIP reached.

mod client;
mod failover;
mod servers;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use vipgate_lab::{Lab, Link, Node, Process, Program, enter, eventually};

use crate::args::DemoArgs;
use crate::status::report::{ListenerStatus, StatusReport};
use crate::status::tree;

/// How long an example may take until everything serves.
const READY: Duration = Duration::from_secs(10);
/// How long the process may take to end.
const STOP: Duration = Duration::from_secs(10);
/// Connections per listener that are made and shown.
const CONNECTIONS: usize = 4;

/// Shows the examples; fails when one does not do what its manifests say.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode> {
    enter::in_namespaces()?;
    let examples = find(args)?;
    println!("A client, a node and servers on one bridge; nothing here touches your network.");
    let mut failed = Vec::new();
    for example in &examples {
        if let Err(error) = show(example) {
            println!("  ✗ {error:#}");
            failed.push(name_of(example));
        }
    }
    if let Err(error) = failover::show(&examples[0]) {
        println!("  ✗ {error:#}");
        failed.push("fail-over".to_owned());
    }
    if !failed.is_empty() {
        bail!("{} of {} examples failed: {}", failed.len(), examples.len() + 1, failed.join(", "));
    }
    println!("\n{} of {} examples work, and fail-over.", examples.len(), examples.len());
    Ok(ExitCode::SUCCESS)
}

fn find(args: &DemoArgs) -> Result<Vec<PathBuf>> {
    let directory = &args.examples;
    let entries = fs::read_dir(directory).with_context(|| {
        format!("{}; name the examples' directory with --examples DIR", directory.display())
    })?;
    let mut examples = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            examples.push(path);
        }
    }
    examples.sort();
    for name in &args.only {
        let known = examples.iter().any(|example| name_of(example) == *name);
        let names = examples.iter().map(|e| name_of(e)).collect::<Vec<_>>().join(", ");
        ensure!(known, "no example is called {name}; there are: {names}");
    }
    examples.retain(|example| args.only.is_empty() || args.only.contains(&name_of(example)));
    ensure!(!examples.is_empty(), "{} holds no examples", directory.display());
    Ok(examples)
}

fn name_of(example: &Path) -> String {
    example.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The machines of an example.
struct Stage {
    client: Node,
    node: Node,
    on_lan: Link,
    _others: (Lab, Vec<Node>, Vec<Link>),
    _servers: Vec<(vipgate_lab::servers::Echo, vipgate_lab::servers::Datagrams)>,
}

impl Stage {
    fn build(example: &Path) -> Result<Self> {
        let lab = Lab::new("demo")?;
        let lan = lab.bridge("lan")?;
        let (client, node, servers) =
            (lab.node("client")?, lab.node("node")?, lab.node("servers")?);
        let links = vec![client.join(&lan, "10.77.0.10/24")?, servers.join(&lan, "10.77.0.2/24")?];
        let on_lan = node.join(&lan, "10.77.0.1/24")?;
        let running = servers::start(&servers, &links[1], example)?;
        let others = (lab, vec![servers], links);
        Ok(Self { client, node, on_lan, _others: others, _servers: running })
    }
}

fn show(example: &Path) -> Result<()> {
    println!("\n▶ {}", example.display());
    let stage = Stage::build(example)?;
    let scratch = tempfile::tempdir()?;
    let program = Program::new(std::env::current_exe()?);
    let admin = scratch.path().join("admin.sock");
    let mut process = stage.node.spawn(
        program
            .clone()
            .args(["run", "--node", "node", "--state"])
            .arg(scratch.path().join("state.json"))
            .arg("--admin")
            .arg(&admin)
            .arg(example),
    )?;
    let ask = program.args(["status", "-o", "report", "--admin"]).arg(&admin);
    let outcome = observe(&stage, &ask);
    let stopped = stop(&stage, &mut process, outcome.as_deref().unwrap_or_default());
    if outcome.is_err() || stopped.is_err() {
        println!("{}", process.tail());
    }
    outcome?;
    stopped
}

/// Waits until everything serves, then looks at it from the client. Returns the VIPs.
fn observe(stage: &Stage, ask: &Program) -> Result<Vec<IpAddr>> {
    let status = || -> Result<StatusReport> {
        Ok(serde_json::from_str(&stage.node.run_within(STOP, ask.clone())?)?)
    };
    let report = eventually(READY, || {
        let report = status()?;
        ensure!(!report.vips.is_empty(), "no VIP yet");
        let problems: Vec<_> = report.problems.iter().map(|p| p.message.as_str()).collect();
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(report)
    })?;
    for vip in &report.vips {
        let mac = client::who_has(&stage.client, vip.address)?;
        ensure!(
            mac == stage.on_lan.mac().to_string(),
            "{} is at {mac}, which is not the node ({})",
            vip.address,
            stage.on_lan.mac()
        );
        println!("  client: who has {}?  It is at {mac}, the node.", vip.address);
        for listener in &vip.listeners {
            reach(stage, vip.address, listener)?;
        }
    }
    for line in tree::render(&status()?, false).lines().filter(|line| !line.is_empty()) {
        println!("  │ {line}");
    }
    Ok(report.vips.iter().map(|vip| vip.address).collect())
}

/// Connects to a listener, or sends it a datagram, and checks that what answers is an endpoint of its route.
fn reach(stage: &Stage, vip: IpAddr, listener: &ListenerStatus) -> Result<()> {
    let route = listener.routes.first().context("no route on the listener")?;
    let mut answers = Vec::new();
    for _ in 0..CONNECTIONS {
        let at = (vip, listener.port).into();
        let greeting = match listener.is_udp() {
            true => client::answer(&stage.client, at)?,
            false => client::greeting(&stage.client, at)?,
        };
        let server = servers::Greeting::parse(&greeting)?;
        let endpoints = route.backends.iter().flat_map(|backend| &backend.endpoints);
        ensure!(
            endpoints.clone().any(|endpoint| endpoint.address == server.address),
            "{vip}:{} reached {greeting}, which is no endpoint of {}",
            listener.port,
            route.route
        );
        if !answers.contains(&greeting) {
            answers.push(greeting);
        }
    }
    let transport = if listener.is_udp() { "/udp" } else { "" };
    println!("  client: {vip}:{}{transport} → {}", listener.port, answers.join(", "));
    Ok(())
}

fn stop(stage: &Stage, process: &mut Process, vips: &[IpAddr]) -> Result<()> {
    let ended = process.terminate(STOP)?;
    ensure!(ended.success(), "vipgate ended with {ended} after SIGTERM");
    for vip in vips {
        client::nobody_has(&stage.client, *vip)?;
        println!("  client: vipgate ended; nobody answers for {vip} any more");
    }
    Ok(())
}
