//! `vipgate speaker`: serves one node of a cluster.
//!
//! ```text
//!   API server ──> watches ──> engine (planner) ──> speaker ──> the network
//!       ^                            ^                 │
//!       └──── Speaker object <───────┴──── reports ────┘
//! ```
//!
//! It serves and announces what VirtualIPs say, and nothing else. While the API server is away it goes
//! on with what it knows.

mod copies;
mod engine;
mod fitness;
mod last_good;
pub(crate) mod members;
mod object;
mod passwords;
mod sessions;
mod troubles;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::Kind;
use vipgate_controller::{cluster, events, watch};
use vipgate_speaker::host::raise_open_files;
use vipgate_speaker::names::{Resolver, Servers};
use vipgate_speaker::node::{Config, Speaker};
use vipgate_speaker::{proxy, udp};

use crate::args::SpeakerArgs;
use crate::memory::give_back_after_start;
use crate::priority::plan_after_forwarding;
use crate::run::admin::AdminSocket;
use crate::run::board::Board;
use crate::run::state::StateFile;
use crate::run::{control_threads, host_name, instance_name, paths};
use crate::signals::{INTERRUPTED, Signals};
use crate::{logging, metrics};
use engine::Engine;
use last_good::LastGood;
use members::Members;
use object::SpeakerObject;
use sessions::SessionEvents;

/// What a node's plan is made from.
const KINDS: [Kind; 26] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::BackendTlsPolicy,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::IpAddressPool,
    Kind::L2Advertisement,
    Kind::BgpPeer,
    Kind::BgpAdvertisement,
    Kind::BfdProfile,
    Kind::Community,
    Kind::Backend,
    Kind::ListenerPolicy,
    Kind::BackendPolicy,
    Kind::VirtualIp,
    // Its own, and where else VIPs could be.
    Kind::Node,
    // Its own, to see that it stays as it is; the others, to find the group.
    Kind::Speaker,
];

/// Who tells of sessions, in events.
const REPORTER: &str = "vipgate.dev/speaker";

/// Serves until told to end.
pub(crate) fn run(args: &SpeakerArgs) -> Result<ExitCode> {
    logging::start();
    let open_files = raise_open_files();
    tracing::debug!(open_files, "limit on open files, raised as far as it goes");
    let runtime = control_threads()?;
    let outcome = runtime.block_on(serve(args));
    // After a second SIGINT the drain is still under way on a thread; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

async fn serve(args: &SpeakerArgs) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let client = cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let state = StateFile::open(&args.state)?;
    let mut config = Config {
        node: args.node.clone(),
        proxy: proxy::Config::default(),
        udp: udp::Config::default(),
        access_log: (&args.access_log).into(),
        announce_every: args.announce_interval,
        grouped: true,
        asking: args.asking.every,
    };
    if let Some(workers) = args.workers {
        config.proxy.workers = workers;
        config.udp.workers = workers;
    }
    let admin = paths::admin_socket(args.admin.socket.as_deref());
    // Serving does not hang on whether somebody can ask.
    let socket = AdminSocket::bind(&admin)
        .inspect_err(|error| tracing::warn!("vipgate status finds no answer here: {error}"))
        .ok();
    let speaker = Arc::new(Speaker::start(config).await?);
    let (tracker, stopped) = (TaskTracker::new(), CancellationToken::new());
    let last_good = LastGood::open(&args.state);
    let scope = watch::Scope {
        kinds: KINDS.to_vec(),
        secrets_in: Some(args.cluster.namespace.clone()),
        former: last_good.keys(),
        ..watch::Scope::default()
    };
    let events = watch::start(&client, scope, &tracker, stopped.clone());
    let (teller, messenger) = events::teller(client.clone(), REPORTER, &args.node);
    let object = SpeakerObject::new(client, &args.node, instance_name(&host_name()));
    let writer = object.clone();
    let board = Arc::new(Board::new(args.node.clone(), Arc::clone(&speaker)));
    let members =
        Members::new(&args.node, args.group_address, args.rebalance, Arc::clone(&speaker), state);
    let servers = Servers::of_host(args.names.resolver);
    let resolver = Resolver::start(servers, &tracker, stopped.clone());
    let engine = Engine::new(
        &args.node,
        Arc::clone(&speaker),
        resolver,
        members,
        last_good,
        Arc::clone(&board),
        SessionEvents::new(&args.node, teller),
    );
    let cancelled = stopped.clone();
    tracker.spawn(async move { cancelled.run_until_cancelled(messenger.run()).await });
    let (statuses, found, owner) = (engine.statuses(), engine.found(), engine.owner());
    let told = metrics::of_speaker(Arc::clone(&speaker), engine.awaited());
    let (rival, rivals) = tokio::sync::watch::channel(None);
    if let Some(socket) = socket {
        socket.serve(board, &tracker, stopped.clone());
    }
    metrics::serve(args.metrics.place, told, &tracker, stopped.clone()).await;
    give_back_after_start(&tracker, stopped.clone());
    tracing::info!(node = args.node, admin = %admin.display(), "vipgate {} serves",
        env!("CARGO_PKG_VERSION"));
    plan_after_forwarding();
    tokio::select! {
        () = engine.run(events, rivals) => {}
        () = writer.follow(statuses, found.clone(), owner, rival) => {}
        () = signals.end() => {}
    }
    tracing::info!(timeout = ?args.drain_timeout, "draining: listeners close, connections may finish");
    stopped.cancel();
    // New connections find no listener from now on, so nothing is served from here any more.
    let drain = async {
        tokio::join!(object.delete(&found), speaker.drain(args.drain_timeout));
    };
    let code = tokio::select! {
        () = drain => ExitCode::SUCCESS,
        () = signals.interrupt_again() => ExitCode::from(INTERRUPTED),
    };
    tracker.close();
    tracker.wait().await;
    tracing::info!("ended");
    Ok(code)
}
