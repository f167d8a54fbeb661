//! The lab as a place for scenarios: namespaces in place of containers, processes in place of pods of the DaemonSet.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use vipgate_lab::cluster::{Images, PodPlayer, ProxyMode};
use vipgate_lab::routers::PeerSetup;
use vipgate_lab::{Link, Node, Process, Program, Result};
use vipgate_scenarios::{Facts, Family, Fate, Rig};

use crate::routed::{Beside, ROUTER};
use crate::site::{NAMESPACE, SOON, Site};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// For a script on the client, which ends by itself before.
const SCRIPT: Duration = Duration::from_secs(360);
/// More than a speaker drains for.
const DRAINED: Duration = Duration::from_secs(60);
/// The nodes with speakers, and their addresses.
const EDGES: [(&str, &str); 2] = [("worker", "10.77.0.2"), ("second", "10.77.0.12")];

/// As the values of the chart have them for kind.
const POOLS: &str = "apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: default, namespace: vipgate-system}
spec: {addresses: [10.77.0.200-10.77.0.207]}
---
apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: routed, namespace: vipgate-system}
spec: {addresses: [192.0.2.10-192.0.2.17], autoAssign: false}
";

/// A site with pods, kube-proxies, a router, and a speaker on each edge.
pub(super) struct Lab {
    // The order of dropping: what runs before where it runs.
    speakers: Mutex<BTreeMap<&'static str, Speaker>>,
    _controller: Process,
    _proxies: Vec<Process>,
    _pods: PodPlayer,
    beside: Beside,
    second: (Node, Link),
    facts: Facts,
    site: Site,
}

/// That of a node.
struct Speaker {
    process: Process,
    fate: Fate,
    /// Told to end by an upgrade; it may still drain.
    ending: bool,
}

impl Lab {
    pub(super) fn build() -> Result<Self> {
        let site = Site::new("shared");
        let machine = site.lab.node("second")?;
        let cable = machine.join(&site.lan, "10.77.0.12/24")?;
        let peers = EDGES.map(|(_, address)| PeerSetup::new(ROUTER, address)).to_vec();
        // With the pool `pool`, which nobody but this asks for.
        let beside = Beside::new(&site, peers);
        site.cluster.kubectl(["delete", "ipaddresspool", "pool", "--namespace", NAMESPACE])?;
        site.cluster.apply(POOLS)?;
        let mut workers = Vec::new();
        for (node, name, address) in [
            (&site.worker, "worker", "10.77.0.2"),
            (&machine, "second", "10.77.0.12"),
            (&site.servers, "servers", "10.77.0.4"),
        ] {
            workers.push(site.cluster.add_worker(node, name, address.parse()?)?);
        }
        for (edge, _) in EDGES {
            site.cluster.kubectl(["label", "node", edge, "vipgate.dev/e2e=edge"])?;
        }
        let proxy = |worker| site.cluster.kube_proxy(worker, ProxyMode::Nftables);
        let proxies = workers.iter().map(proxy).collect::<Result<_>>()?;
        let pods = site.cluster.play_pods(&workers, Images::of_conformance()?)?;
        let controller = site.controller("one");
        let facts = Facts {
            families: vec![Family::V4],
            namespace: NAMESPACE.to_owned(),
            servers: "servers".to_owned(),
            edges: EDGES.map(|(name, _)| name.to_owned()).to_vec(),
            interface: "eth0".to_owned(),
            echo: "gateway-api/echo-basic".to_owned(),
            routers: vec![ROUTER.parse()?],
        };
        let lab = Self {
            speakers: Mutex::default(),
            _controller: controller,
            _proxies: proxies,
            _pods: pods,
            beside,
            second: (machine, cable),
            facts,
            site,
        };
        for (name, _) in EDGES {
            let process = lab.start(name)?;
            let speaker = Speaker { process, fate: Fate::Well, ending: false };
            lab.speakers.lock().unwrap().insert(name, speaker);
        }
        Ok(lab)
    }

    fn machine(&self, name: &str) -> (&Node, &Link) {
        match name {
            "second" => (&self.second.0, &self.second.1),
            _ => (&self.site.worker, &self.site.cables.worker),
        }
    }

    /// The speaker of a node as the chart runs it, draining for as long as it does there.
    fn start(&self, name: &str) -> Result<Process> {
        let (_, address) = EDGES.into_iter().find(|(edge, _)| *edge == name).context("an edge")?;
        let at: (&str, IpAddr) = (name, address.parse()?);
        let pod = format!("speaker-{name}");
        let program = self.site.chart().program("vipgate-speaker", VIPGATE, &pod, at)?;
        let directory = self.site.cluster.directory();
        let program = program
            .arg("--state")
            .arg(directory.join(format!("{pod}.json")))
            .arg("--admin")
            .arg(directory.join(format!("{pod}.sock")))
            .env("VIPGATE_LOG", "info,kube=warn");
        self.machine(name).0.spawn(program)
    }
}

impl Rig for Lab {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        // A program of the lab reads nothing; what it would read is a file.
        let mut file = tempfile::NamedTempFile::new_in(self.site.cluster.directory())?;
        std::io::Write::write_all(&mut file, input.as_bytes())?;
        let path = file.path().to_str().context("paths of the lab are text")?;
        let from = |word: &&str| if *word == "-" { path.to_owned() } else { (*word).to_owned() };
        let arguments: Vec<String> = arguments.iter().map(from).collect();
        let arguments = arguments.iter().map(String::as_str);
        let program = self.site.cluster.kubectl_as(self.site.cluster.kubeconfig(), arguments);
        self.site.cluster.node().run_within(SCRIPT, program)
    }

    fn client(&self, script: &str) -> Result<String> {
        self.site.client.run_within(SCRIPT, Program::new("bash").args(["-c", script]))
    }

    fn router(&self, question: &str) -> Result<String> {
        Ok(self.beside.router.ask(question))
    }

    fn node(&self, name: &str, fate: Fate) -> Result<()> {
        let mut speakers = self.speakers.lock().unwrap();
        let speaker = speakers.get_mut(name).context("an edge")?;
        let cable = self.machine(name).1;
        match (speaker.fate, fate) {
            (Fate::Well, Fate::Well) => {}
            (Fate::Well, Fate::Lost) => {
                // Nothing that the dying one does reaches the others.
                cable.cut_silently()?;
                speaker.process.kill();
            }
            (Fate::Well, Fate::Frozen) => speaker.process.signal(Signal::STOP)?,
            (Fate::Frozen, Fate::Well) => speaker.process.signal(Signal::CONT)?,
            (Fate::Lost, Fate::Well) => {
                cable.restore()?;
                speaker.process = self.start(name)?;
            }
            (was, fate) => bail!("{name} is {was:?}: it cannot be {fate:?}"),
        }
        speaker.fate = fate;
        Ok(())
    }

    fn api_server(&self, stands_still: bool) -> Result<()> {
        let [_, api_server, _] = self.site.cluster.pids();
        let pid = Pid::from_raw(i32::try_from(api_server)?).context("a process")?;
        let signal = if stands_still { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(pid, signal)?)
    }

    /// As the DaemonSet's controller and kubelet would, but for the order: the owner's is told to end first.
    fn upgrade(&self) -> Result<()> {
        self.site.cluster.install_chart(NAMESPACE, &["speaker.podAnnotations.upgrade=again"])?;
        let mut speakers = self.speakers.lock().unwrap();
        for speaker in speakers.values() {
            ensure!(speaker.fate == Fate::Well && !speaker.ending, "a speaker is missing");
        }
        let owners = self.site.cluster.get(["speakers"])?;
        let list = owners["items"].as_array().context("a list")?;
        let serving = list.iter().find(|one| one["status"]["serving"].as_u64() > Some(0));
        let owner = serving.and_then(|one| one["metadata"]["name"].as_str()).context("an owner")?;
        let speaker = speakers.get_mut(owner).context("an edge")?;
        speaker.ending = true;
        speaker.process.signal(Signal::TERM)
    }

    fn upgraded(&self) -> Result<()> {
        let mut order = EDGES.map(|(name, _)| name);
        let mut speakers = self.speakers.lock().unwrap();
        order.sort_by_key(|name| !speakers[name].ending);
        for name in order {
            let speaker = speakers.get_mut(name).context("an edge")?;
            if !speaker.ending {
                speaker.process.signal(Signal::TERM)?;
            }
            let ended = speaker.process.wait(DRAINED)?;
            ensure!(ended.success(), "the old speaker of {name}: {ended}");
            speaker.process = self.start(name)?;
            speaker.ending = false;
            // The next one is told when this one is ready.
            speaker.process.wait_for_line("one of the group of speakers", SOON)?;
        }
        Ok(())
    }

    fn conformance(&self) -> Result<String> {
        bail!("in the lab: cli/tests/conformance")
    }
}
