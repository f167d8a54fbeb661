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
    let mut candidate = Candidate::new(client.clone(), &args.cluster.namespace, &identity);
    let settings = Settings {
        identity: identity.clone(),
        namespace: args.cluster.namespace.clone(),
        companion,
    };
    let controller = Controller::new(client, candidate.gate(), settings);
    let leading = candidate.leading();
    tracing::info!(identity, "vipgate {} controls", env!("CARGO_PKG_VERSION"));
    tokio::select! {
        () = controller.run(events, leading) => {}
        () = candidate.run() => {}
        () = signals.end() => {}
    }
    // The controller is gone by now, so nothing is written after the lease is given back.
    candidate.resign().await;
    stopped.cancel();
    tracker.close();
    tracker.wait().await;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}
