//! A kind cluster, as `kind-e2e/run.sh` has made it: nodes, client and router are containers on one network.
//!
//! The client is a container because then it does not matter whether the host reaches that network: on macOS, and with
//! podman without root, it does not.

mod command;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use command::Command;

use crate::rig::{Facts, Family, Fate, Rig};
use crate::{Result, eventually};

/// For what answers at once where all is well.
const PROMPT: Duration = Duration::from_secs(120);
/// For a script on the client, which ends by itself before.
const SCRIPT: Duration = Duration::from_secs(360);
/// For a node that was away: its container runtime starts, and it is Ready.
const READY: &str = "180s";
/// For all speakers to be replaced, each of which may drain for half a minute.
const ROLLED: &str = "600s";
/// For the official suite, which has a limit of 40 minutes itself.
const SUITE: Duration = Duration::from_secs(2_700);

/// A cluster made by kind. Everything is taken from the environment; `run.sh` sets it.
#[derive(Debug)]
pub struct Kind {
    runtime: String,
    kubectl: String,
    helm: String,
    cluster: String,
    chart: PathBuf,
    usable: String,
    facts: Facts,
    upgrades: AtomicU32,
}

impl Kind {
    /// What the environment says.
    ///
    /// # Errors
    /// When a variable is missing or not understood; it names it.
    pub fn from_environment() -> Result<Self> {
        Self::of(|name| std::env::var_os(name))
    }

    pub(crate) fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let text = |name: &str| -> Result<String> {
            let value =
                variable(name).with_context(|| format!("{name} is not set: run.sh sets it"))?;
            value.into_string().ok().with_context(|| format!("{name} is no text"))
        };
        let families = match text("VIPGATE_E2E_FAMILY")?.as_str() {
            "v4" => vec![Family::V4],
            "v6" => vec![Family::V6],
            "dual" => vec![Family::V4, Family::V6],
            other => bail!("VIPGATE_E2E_FAMILY={other}: v4, v6 or dual"),
        };
        let cluster = text("VIPGATE_E2E_CLUSTER")?;
        let node = |name: &str| format!("{cluster}-{name}");
        let routers = text("VIPGATE_E2E_ROUTERS")?;
        let routers: Vec<IpAddr> =
            routers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let facts = Facts {
            families,
            namespace: text("VIPGATE_E2E_NAMESPACE")?,
            servers: node("control-plane"),
            edges: vec![node("worker"), node("worker2")],
            interface: "eth0".to_owned(),
            echo: text("VIPGATE_E2E_ECHO")?,
            routers,
        };
        let (runtime, chart) = (text("VIPGATE_E2E_RUNTIME")?, text("VIPGATE_E2E_CHART")?.into());
        let usable = text("VIPGATE_E2E_USABLE")?;
        let (kubectl, helm) = ("kubectl".to_owned(), "helm".to_owned());
        let upgrades = AtomicU32::new(0);
        Ok(Self { runtime, kubectl, helm, cluster, chart, usable, facts, upgrades })
    }

    /// docker or podman.
    fn containers(&self, arguments: &[&str]) -> Result<String> {
        Command::new(&self.runtime, arguments).within(PROMPT)
    }

    fn on(&self, container: &str) -> String {
        format!("{}-{container}", self.cluster)
    }

    fn script(&self, script: &str, limit: Duration) -> Result<String> {
        let client = self.on("client");
        Command::new(&self.runtime, &["exec", &client, "bash", "-c", script]).within(limit)
    }

    /// What the container of a node is doing, in the words of docker and podman.
    fn state(&self, node: &str) -> Result<String> {
        let said = self.containers(&["inspect", "--format", "{{.State.Status}}", node])?;
        Ok(said.trim().to_owned())
    }

    fn rolled_out(&self, workload: &str) -> Result<()> {
        let namespace = &self.facts.namespace;
        let timeout = format!("--timeout={ROLLED}");
        let arguments = ["rollout", "status", workload, "--namespace", namespace, &timeout];
        Command::new(&self.kubectl, &arguments).within(Duration::from_secs(660)).map(|_| ())
    }
}

impl Rig for Kind {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        Command::new(&self.kubectl, arguments).input(input).within(SCRIPT)
    }

    fn client(&self, script: &str) -> Result<String> {
        self.script(script, SCRIPT)
    }

    fn router(&self, question: &str) -> Result<String> {
        self.containers(&["exec", &self.on("router"), "vtysh", "-c", question])
    }

    fn node(&self, name: &str, fate: Fate) -> Result<()> {
        let state = self.state(name)?;
        match (fate, state.as_str()) {
            (Fate::Lost, "running") => self.containers(&["kill", name]).map(|_| ()),
            (Fate::Frozen, "running") => self.containers(&["pause", name]).map(|_| ()),
            (Fate::Well, "running") => Ok(()),
            (Fate::Well, "paused" | "exited" | "created" | "stopped") => {
                let verb = if state == "paused" { "unpause" } else { "start" };
                self.containers(&[verb, name])?;
                let (node, timeout) = (format!("node/{name}"), format!("--timeout={READY}"));
                self.kubectl(&["wait", "--for=condition=Ready", &node, &timeout], "")?;
                self.rolled_out("daemonset/vipgate-speaker")
            }
            (fate, state) => bail!("{name} is {state}: it cannot be {fate:?}"),
        }
    }

    fn api_server(&self, stands_still: bool) -> Result<()> {
        let signal = if stands_still { "STOP" } else { "CONT" };
        // Of that node's pod; kubelet would start it again after a minute and a half of this.
        let script = format!("kill -{signal} $(pidof kube-apiserver)");
        self.containers(&["exec", &self.facts.servers, "sh", "-c", &script])?;
        if !stands_still {
            eventually(PROMPT, || self.kubectl(&["get", "--raw=/readyz"], ""))?;
        }
        Ok(())
    }

    fn upgrade(&self) -> Result<()> {
        let number = self.upgrades.fetch_add(1, Ordering::Relaxed);
        let chart = self.chart.to_str().context("the path of the chart is text")?;
        // What differs for every speaker's pod.
        let setting = format!("speaker.podAnnotations.upgrade=number-{number}");
        let namespace = &self.facts.namespace;
        let arguments = ["upgrade", "vipgate", chart, "--namespace", namespace];
        let values = ["--reset-then-reuse-values", "--set", &setting];
        Command::new(&self.helm, &[&arguments[..], &values[..]].concat()).within(PROMPT).map(|_| ())
    }

    fn upgraded(&self) -> Result<()> {
        self.rolled_out("daemonset/vipgate-speaker")?;
        self.rolled_out("deployment/vipgate-controller")
    }

    fn conformance(&self) -> Result<String> {
        let usable = &self.usable;
        // As the lab runs it (cli/tests/conformance/main.rs).
        let printed = self.script(
            &format!(
                "cd /e2e && KUBECONFIG=/e2e/kubeconfig ./conformance.test -test.v -test.timeout=40m \
                 -test.run=TestConformance -gateway-class=vipgate \
                 -conformance-profiles=GATEWAY-TCP,GATEWAY-TLS,GATEWAY-UDP \
                 -usable-address={usable} -unusable-address=192.0.2.5 -disable-parallel-tests \
                 -organization=vipgate -project=vipgate -url=https://vipgate.dev \
                 -contact=https://vipgate.dev -version={version} -report-output=/e2e/report.yaml 2>&1",
                version = env!("CARGO_PKG_VERSION")
            ),
            SUITE,
        )?;
        verdict(&printed)
    }
}

/// The line with the counts. That no test failed is not enough: none may have been left out.
fn verdict(printed: &str) -> Result<String> {
    let line = printed.lines().find(|line| line.starts_with("conformance: "));
    let line = line.with_context(|| format!("the suite told no counts:\n{printed}"))?;
    let nothing_else = line.ends_with(" 0 failed, 0 skipped") && !line.contains(": 0 passed");
    if nothing_else { Ok(line.to_owned()) } else { bail!("{line}\n{printed}") }
}

#[cfg(test)]
mod tests;
