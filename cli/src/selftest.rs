//! `vipgate selftest`: whether an installation works, found out from inside of it; what `helm test` runs.
//!
//! ```text
//!   somebody leads? ─> speakers well? ─> a pool? ─> an object that wants an address ─> it has one, and answers
//! ```
//!
//! The object is a Gateway, which is connected to; where there is no class of it, a Service, of which only
//! the address is awaited, as nobody is behind it. It is taken away whatever comes of it. What is waited
//! for in vain is the error.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use vipgate_api::Kind;
use vipgate_controller::{cluster, leader};
use vipgate_planner::services::SERVICE_CLASS;

use crate::args::SelftestArgs;
use crate::logging;
use crate::run::control_threads;

/// Name of the object that is made; its port.
const NAME: &str = "vipgate-selftest";
const PORT: u16 = 7475;
/// How often it is looked.
const INTERVAL: Duration = Duration::from_millis(500);
/// For taking the object away, however late it is.
const LAST: Duration = Duration::from_secs(10);

/// Looks, tells what it finds, and fails by what it waited for.
pub(crate) fn run(args: &SelftestArgs) -> Result<ExitCode> {
    logging::start();
    control_threads()?.block_on(test(args))?;
    println!("vipgate works");
    Ok(ExitCode::SUCCESS)
}

/// The objects of an installation.
struct Cluster {
    client: Client,
    namespace: String,
    deadline: Instant,
}

async fn test(args: &SelftestArgs) -> Result<()> {
    let cluster = Cluster {
        client: cluster::connect(args.cluster.kubeconfig.as_deref()).await?,
        namespace: args.cluster.namespace.clone(),
        deadline: Instant::now() + args.within,
    };
    let leader = cluster.until("a controller that leads", async || cluster.leader().await).await?;
    println!("controller {leader} leads");
    let speakers = cluster.until("speakers that are well", async || cluster.speakers().await);
    println!("speakers: {}", speakers.await?.join(", "));
    let trial = cluster.until("a pool, and a class", async || cluster.trial(args).await).await?;
    let before = "the object of an earlier test to be gone";
    cluster.until(before, async || trial.take_away().await).await?;
    let outcome = trial.make_and_reach().await;
    let gone = timeout_at(Instant::now() + LAST, trial.take_away()).await;
    outcome?;
    gone.context("the object of the test does not go away")?
}

impl Cluster {
    /// Objects of a kind: those of the namespace, where the kind has them there.
    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(kind.group(), kind.versions()[0], kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
        match kind {
            Kind::GatewayClass | Kind::Speaker => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
        }
    }

    async fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let spec = leases.get(leader::NAME).await?.spec.unwrap_or_default();
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let holder = holder.with_context(|| format!("nobody holds the Lease {}", leader::NAME))?;
        // One that was killed holds it on, and does not renew it.
        let silent = spec.renew_time.map(|renewed| Timestamp::now().duration_since(renewed.0));
        let may = spec.lease_duration_seconds.unwrap_or_default().into();
        ensure!(silent.is_some_and(|silent| silent.as_secs() <= may), "{holder} does not renew it");
        Ok(holder)
    }

    /// What it is tried by.
    async fn trial(&self, args: &SelftestArgs) -> Result<Trial<'_>> {
        let pools = self.of(Kind::IpAddressPool).list(&Default::default()).await?;
        let none = "there is no IPAddressPool, and what needs an address cannot be tried: make one";
        ensure!(!pools.items.is_empty(), none);
        Trial::of(self, args.gateway_class.as_deref()).await
    }

    async fn speakers(&self) -> Result<Vec<String>> {
        let speakers = self.of(Kind::Speaker).list(&Default::default()).await?.items;
        ensure!(!speakers.is_empty(), "no speaker has told of itself: is its pod running?");
        let name = |one: &DynamicObject| one.metadata.name.clone().unwrap_or_default();
        for one in &speakers {
            if let Some(error) = one.data["status"]["errors"][0].as_str() {
                bail!("speaker {}: {error}", name(one));
            }
        }
        Ok(speakers.iter().map(name).collect())
    }

    /// Waits for something to be so; the error is the last thing that was in the way.
    async fn until<T>(&self, what: &str, check: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut last = None;
        let found = timeout_at(self.deadline, async {
            loop {
                match check().await {
                    Ok(found) => return found,
                    Err(error) => last = Some(error),
                }
                sleep(INTERVAL).await;
            }
        });
        found.await.map_err(|_| {
            let last = last.unwrap_or_else(|| anyhow::anyhow!("no answer"));
            last.context(format!("waited in vain for {what}"))
        })
    }
}

/// The object by which it is tried.
struct Trial<'a> {
    cluster: &'a Cluster,
    kind: Kind,
    body: Value,
}

impl<'a> Trial<'a> {
    /// A Gateway of this class, if there is one.
    async fn of(cluster: &'a Cluster, class: Option<&str>) -> Result<Self> {
        let classes = cluster.of(Kind::GatewayClass);
        let class = match class.filter(|class| !class.is_empty()) {
            // None also where the API server knows no such kind.
            Some(class) => classes.get_opt(class).await?.map(|_| class),
            None => None,
        };
        let (kind, spec) = match class {
            Some(class) => {
                let listener = json!({"name": "test", "protocol": "TCP", "port": PORT});
                (Kind::Gateway, json!({"gatewayClassName": class, "listeners": [listener]}))
            }
            None => {
                let spec = json!({"type": "LoadBalancer", "loadBalancerClass": SERVICE_CLASS,
                    "allocateLoadBalancerNodePorts": false, "ports": [{"port": PORT}]});
                (Kind::Service, spec)
            }
        };
        let body = json!({"apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": NAME}, "spec": spec});
        Ok(Self { cluster, kind, body })
    }

    async fn make_and_reach(&self) -> Result<()> {
        let (cluster, objects) = (self.cluster, self.cluster.of(self.kind));
        let object = serde_json::from_value(self.body.clone())?;
        objects.create(&PostParams::default(), &object).await.context("cannot make the object")?;
        let what = format!("an address of {} {NAME}", self.kind);
        let address = cluster
            .until(&what, async || address_of(self.kind, &objects.get(NAME).await?.data))
            .await?;
        if self.kind == Kind::Service {
            println!(
                "Service {NAME} has {address}; nobody is behind it, so it was not connected to"
            );
            return Ok(());
        }
        let what = format!("{address} to answer at port {PORT}, on the way from here");
        let connect = async || Ok(TcpStream::connect((address, PORT)).await?);
        cluster.until(&what, connect).await?;
        println!("Gateway {NAME} has {address}, which answers");
        Ok(())
    }

    /// Deletes it, and waits until it is gone.
    async fn take_away(&self) -> Result<()> {
        let objects = self.cluster.of(self.kind);
        match objects.delete(NAME, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        while objects.get_opt(NAME).await?.is_some() {
            sleep(INTERVAL).await;
        }
        Ok(())
    }
}

/// The address, once it is served.
fn address_of(kind: Kind, object: &Value) -> Result<IpAddr> {
    let status = &object["status"];
    let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let address = match kind {
        Kind::Gateway => {
            let programmed = all.iter().find(|one| one["type"] == "Programmed");
            let programmed = programmed.context("Programmed is not said of it")?;
            let message = programmed["message"].as_str().unwrap_or_default();
            ensure!(programmed["status"] == "True", "it is not Programmed: {message}");
            &status["addresses"][0]["value"]
        }
        _ => &status["loadBalancer"]["ingress"][0]["ip"],
    };
    let address = address.as_str().and_then(|text| text.parse().ok());
    address.with_context(|| {
        let said = all.iter().filter_map(|one| one["message"].as_str());
        format!("it has none: {}", said.collect::<Vec<_>>().join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_once_it_is_served_and_else_there_is_a_reason() {
        let gateway = |status: &str| {
            json!({"status": {"addresses": [{"value": "192.0.2.1"}], "conditions":
                [{"type": "Programmed", "status": status, "message": "no node"}]}})
        };
        assert_eq!(address_of(Kind::Gateway, &gateway("True")).unwrap().to_string(), "192.0.2.1");
        let why = address_of(Kind::Gateway, &gateway("False")).unwrap_err().to_string();
        assert_eq!(why, "it is not Programmed: no node");
        let service = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}});
        assert_eq!(address_of(Kind::Service, &service).unwrap().to_string(), "192.0.2.2");
        let none = json!({"status": {"conditions": [{"message": "pools are exhausted"}]}});
        let why = address_of(Kind::Service, &none).unwrap_err().to_string();
        assert_eq!(why, "it has none: pools are exhausted");
    }
}
