//! `vipgate controller`: gives out the addresses of a cluster, and says what is so in it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::Kind;
use vipgate_controller::companion::GATEWAY_NAME;
use vipgate_controller::controller::{Controller, Settings};
use vipgate_controller::initial::Initial;
use vipgate_controller::leader::Candidate;
use vipgate_controller::{cluster, group_key, watch};
use vipgate_speaker::group::GroupKey;

use crate::args::ControllerArgs;
use crate::memory::give_back_after_start;
use crate::run::{control_threads, host_name, instance_name};
use crate::signals::Signals;
use crate::{logging, metrics};

/// What decisions are made about.
const KINDS: [Kind; 27] = [
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
    Kind::Speaker,
    Kind::Node,
    // Those that are companions, to see that they stay as they are and go.
    Kind::ServiceAccount,
];

/// How long an orderly end waits for writes that are under way. They take milliseconds; an API server
/// that needs longer is in trouble, and then a late write must not meet the next leader's.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// And then for events.
const LAST_EVENTS: Duration = Duration::from_secs(1);

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
    let scope = watch::Scope {
        kinds: KINDS.to_vec(),
        accounts_with: Some(GATEWAY_NAME),
        ..watch::Scope::default()
    };
    let events = watch::start(&client, scope, &tracker, stopped.clone());
    let key = GroupKey::random()?.to_text();
    let (namespace, at) = (args.cluster.namespace.clone(), client.clone());
    let cancelled = stopped.clone();
    tracker.spawn(async move {
        cancelled.run_until_cancelled(group_key::ensure(at, &namespace, &key)).await
    });
    let mut candidate =
        Candidate::new(client.clone(), &args.cluster.namespace, &instance_name(&identity));
    let settings = Settings {
        identity: identity.clone(),
        namespace: args.cluster.namespace.clone(),
        companion: args.companion.into(),
        classless: args.classless.into(),
        initial: Initial { class: args.gateway_class.clone(), pools: args.pools.0.clone() },
    };
    let (controller, messenger) = Controller::new(client, candidate.gate(), settings);
    let leading = candidate.leading();
    let told = metrics::of_controller(controller.facts(), leading.clone());
    metrics::serve(args.metrics, told, &tracker, stopped.clone()).await;
    give_back_after_start(&tracker, stopped.clone());
    tracing::info!(identity, "vipgate {} controls", env!("CARGO_PKG_VERSION"));
    // On a task of its own: whatever it works out, the lease is renewed meanwhile.
    let mut deciding = tracker.spawn(controller.run(events, leading));
    let mut telling = tracker.spawn(messenger.run());
    let code = tokio::select! {
        ended = &mut deciding => {
            tracing::error!(?ended, "the controller does not decide any more");
            ExitCode::FAILURE
        }
        () = candidate.run() => ExitCode::FAILURE,
        () = signals.end() => ExitCode::SUCCESS,
    };
    // No write begins any more; those under way end before the lease is given back.
    candidate.retire();
    stopped.cancel();
    match finished(&mut deciding, LAST_WRITES).await {
        true => candidate.resign().await,
        false => tracing::warn!("a write has no answer yet: the lease is left to expire"),
    }
    if !finished(&mut telling, LAST_EVENTS).await {
        tracing::warn!("events are lost: no time is left to hand them in");
    }
    tracker.close();
    tracker.wait().await;
    tracing::info!("ended");
    Ok(code)
}

/// Whether a task ends by itself in time; it has ended in any case.
async fn finished(task: &mut JoinHandle<()>, within: Duration) -> bool {
    if task.is_finished() || tokio::time::timeout(within, &mut *task).await.is_ok() {
        return true;
    }
    task.abort();
    drop(task.await);
    false
}
