//! `vipgate run`: serves a directory of manifests on this host, without a cluster.
//!
//! ```text
//!   directory ──> source ──┐                      ┌──> speaker ──> the network
//!                          ├──> engine (planner) ─┤
//!   state file <───────────┘          ▲           └──> board ──> admin socket
//!                                     └── reports, links ── speaker
//! ```

pub(crate) mod admin;
pub(crate) mod board;
mod engine;
pub(crate) mod group;
pub(crate) mod journal;
pub(crate) mod nodes;
pub(crate) mod paths;
pub(crate) mod source;
pub(crate) mod state;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::Node;
use vipgate_speaker::host::raise_open_files;
use vipgate_speaker::names::{Resolver, Servers};
use vipgate_speaker::node::{Config, Speaker};
use vipgate_speaker::{proxy, udp};

use crate::args::RunArgs;
use crate::memory::give_back_after_start;
use crate::priority::plan_after_forwarding;
use crate::signals::{INTERRUPTED, Signals};
use crate::{logging, metrics};
use admin::AdminSocket;
use board::Board;
use engine::Engine;
use source::Source;
use state::StateFile;

/// Serves until told to end.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    logging::start();
    let open_files = raise_open_files();
    tracing::debug!(open_files, "limit on open files, raised as far as it goes");
    let runtime = control_threads()?;
    let outcome = runtime.block_on(serve(args));
    // After a second SIGINT the drain is still under way on a thread; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// Forwarding has threads of its own; these two drive everything else.
pub(crate) fn control_threads() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("vipgate-control")
        .enable_all()
        .build()
        .context("cannot start the control threads")
}

async fn serve(args: &RunArgs) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let source = Source::open(&args.directory)?;
    let state = StateFile::open(&paths::state_file(args.state.as_deref()))?;
    let name = args.node.clone().unwrap_or_else(host_name);
    let group = group::join(&args.group, &name, &state.1.holds)?;
    let mut config = Config {
        node: name.clone(),
        proxy: proxy::Config::default(),
        udp: udp::Config::default(),
        access_log: (&args.access_log).into(),
        announce_every: args.announce_interval,
        grouped: group.is_some(),
        asking: args.asking.every,
    };
    if let Some(workers) = args.workers {
        config.proxy.workers = workers;
        config.udp.workers = workers;
    }
    let speaker = Arc::new(Speaker::start(config).await?);
    let node = Node {
        name,
        labels: args.labels.iter().cloned().collect(),
        links: Vec::new(),
        gives_way: None,
    };
    let board = Arc::new(Board::new(node.name.clone(), Arc::clone(&speaker)));
    let (tracker, stopped) = (TaskTracker::new(), CancellationToken::new());
    let admin = paths::admin_socket(args.admin.socket.as_deref());
    let socket = AdminSocket::bind(&admin)?;
    tracing::info!(node = node.name, directory = %args.directory.display(),
        admin = %admin.display(), "vipgate {} serves", env!("CARGO_PKG_VERSION"));

    let reporter = Arc::clone(&board);
    if let Some(group) = &group {
        speaker.join(Arc::clone(group));
        tracing::info!(group = args.group.group_name, address = %group.address(),
            "one of a group of hosts");
    }
    let servers = Servers::of_host(args.names.resolver);
    let resolver = Resolver::start(servers, &tracker, stopped.clone());
    let mut engine = Engine::new(source, state, node, group, Arc::clone(&speaker), resolver, board);
    engine.begin();
    socket.serve(reporter, &tracker, stopped.clone());
    let told = metrics::of_speaker(Arc::clone(&speaker), engine.awaited());
    metrics::serve(args.metrics.place, told, &tracker, stopped.clone()).await;
    give_back_after_start(&tracker, stopped.clone());
    plan_after_forwarding();
    tokio::select! {
        () = engine.run() => {}
        () = signals.end() => {}
    }
    tracing::info!(timeout = ?args.drain_timeout, "draining: listeners close, connections may finish");
    let code = tokio::select! {
        () = speaker.drain(args.drain_timeout) => ExitCode::SUCCESS,
        () = signals.interrupt_again() => ExitCode::from(INTERRUPTED),
    };
    stopped.cancel();
    tracker.close();
    tracker.wait().await;
    tracing::info!("ended");
    Ok(code)
}

/// What this host calls itself.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A name, and something that no other process has: two of one name, or one after another, must not
/// take each other for themselves.
pub(crate) fn instance_name(name: &str) -> String {
    let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    match unique.trim().split('-').next() {
        Some(unique) if !unique.is_empty() => format!("{name}_{unique}"),
        _ => format!("{name}_{}", std::process::id()),
    }
}
