//! `vipgate controller`: gives out the addresses of a cluster, and says what is so in it.

use std::process::ExitCode;

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::Kind;
use vipgate_controller::companion::Companion;
use vipgate_controller::controller::{Controller, Settings};
use vipgate_controller::leader::Candidate;
use vipgate_controller::{cluster, watch};

use crate::args::ControllerArgs;
use crate::logging;
use crate::run::{control_threads, host_name};
use crate::signals::Signals;

/// What decisions are made about.
const KINDS: [Kind; 18] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::IpAddressPool,
    Kind::L2Advertisement,
    Kind::Backend,
    Kind::VirtualIp,
    Kind::Speaker,
    Kind::Node,
];

/// Decides and writes until told to end.
pub(crate) fn run(args: &ControllerArgs) -> Result<ExitCode> {
    logging::start();
    control_threads()?.block_on(serve(args))
}

async fn serve(args: &ControllerArgs) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let client = cluster::connect(args.cluster.kubeconfig.as_deref()).await?;
    let identity = args.identity.clone().unwrap_or_else(host_name);
    let (tracker, stopped) = (TaskTracker::new(), CancellationToken::new());
    let companion = Companion::from(args.companion);
    let mut kinds = KINDS.to_vec();
    if companion == Companion::ServiceAccount {
        kinds.push(Kind::ServiceAccount);
    }
    let scope = watch::Scope { kinds, ..watch::Scope::default() };
    let events = watch::start(&client, scope, &tracker, stopped.clone());
    let mut candidate = Candidate::new(client.clone(), &args.cluster.namespace, &holder(&identity));
    let settings = Settings {
        identity: identity.clone(),
        namespace: args.cluster.namespace.clone(),
        companion,
        classless: args.classless.into(),
    };
    let controller = Controller::new(client, candidate.gate(), settings);
    let leading = candidate.leading();
    tracing::info!(identity, "vipgate {} controls", env!("CARGO_PKG_VERSION"));
    // On a task of its own: whatever it works out, the lease is renewed meanwhile.
    let mut deciding = tracker.spawn(controller.run(events, leading));
    let code = tokio::select! {
        ended = &mut deciding => {
            tracing::error!(?ended, "the controller does not decide any more");
            ExitCode::FAILURE
        }
        () = candidate.run() => ExitCode::FAILURE,
        () = signals.end() => ExitCode::SUCCESS,
    };
    if !deciding.is_finished() {
        deciding.abort();
        // Gone when this returns, so nothing is written after the lease is given back.
        drop(deciding.await);
    }
    candidate.resign().await;
    stopped.cancel();
    tracker.close();
    tracker.wait().await;
    tracing::info!("ended");
    Ok(code)
}

/// The name in the lease: that of the replica, and something that no other process has. Two of one
/// name, or one after another, would take each other's lease for their own.
fn holder(identity: &str) -> String {
    let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    match unique.trim().split('-').next() {
        Some(unique) if !unique.is_empty() => format!("{identity}_{unique}"),
        _ => format!("{identity}_{}", std::process::id()),
    }
}
