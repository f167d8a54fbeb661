//! Pods with real processes, without kubelet and scheduler.
//!
//! The [`PodPlayer`] watches the pods that Deployments and others become, and does for each what
//! a scheduler and a kubelet would: binds it to a worker, gives it a network with addresses of
//! its own and the Secrets and ConfigMaps it mounts, runs the program that its image stands for
//! ([`Images`]), reports it ready once that listens, starts it again when it ends, and ends it
//! when it is deleted. EndpointSlices are then made by the real controller.
//!
//! What is not there: init containers, probes, resource limits, images and their file systems (a
//! path of a mount, in an argument or variable, is replaced by the place of the volume), the
//! network of the host, updates of mounted volumes, and the API in the pod.

mod images;
mod life;
mod sandbox;
mod sockets;
mod spec;
mod status;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::Cluster;
use super::api::Api;
use super::worker::Worker;
use crate::{Node, Program, Result};
pub use images::Images;
use life::{Life, Order};
use sandbox::Sandbox;
use spec::Surroundings;
pub(super) use spec::list;

/// After the API server went away.
const RELIST_INTERVAL: Duration = Duration::from_millis(100);
/// More than a pod is ever told before it listens.
const ORDERS: usize = 16;

/// Plays the pods of a cluster. When it is dropped their processes and networks go away, and
/// nothing is told to the API server: as when all workers lose power.
#[derive(Debug)]
pub struct PodPlayer {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    watcher: Option<JoinHandle<()>>,
}

/// The network of a pod that nobody asked for, with nothing in it: for clients that are where a pod
/// would be.
#[derive(Debug)]
pub struct EmptyPod(Sandbox);

impl EmptyPod {
    pub(super) fn create(worker: &Worker) -> Result<Self> {
        Sandbox::create(worker).map(Self)
    }

    /// Runs `work` on a fresh thread in it, so that the sockets it opens and the programs it starts
    /// are the pod's.
    ///
    /// # Panics
    /// When `work` panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.enter(work)
    }
}

#[derive(Debug)]
struct Shared {
    stopping: AtomicBool,
    /// To be shut down, so that who reads it stops.
    watch: Mutex<Option<UnixStream>>,
    /// By uid.
    pods: Mutex<BTreeMap<String, Played>>,
}

#[derive(Debug)]
struct Played {
    key: (String, String),
    orders: SyncSender<Order>,
    life: JoinHandle<()>,
}

struct Watcher {
    api: Arc<Api>,
    workers: Vec<Worker>,
    images: Images,
    directory: PathBuf,
    shared: Arc<Shared>,
    /// How many pods were given to a worker because it was its turn.
    turns: usize,
    /// Lives that are over or nearly; joined at the end.
    past: Vec<JoinHandle<()>>,
}

impl PodPlayer {
    pub(super) fn start(cluster: &Cluster, workers: &[Worker], images: Images) -> Result<Self> {
        ensure!(!workers.is_empty(), "pods need a worker");
        for worker in workers {
            for other in workers.iter().filter(|other| other.name() != worker.name()) {
                other.route_from(worker.namespace())?;
            }
        }
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            watch: Mutex::default(),
            pods: Mutex::default(),
        });
        let mut watcher = Watcher {
            api: Arc::clone(cluster.api()),
            workers: workers.to_vec(),
            images,
            directory: cluster.directory().join("pods"),
            shared: Arc::clone(&shared),
            turns: 0,
            past: vec![],
        };
        let thread = std::thread::Builder::new().name("lab-pods".to_owned());
        let watcher = thread.spawn(move || watcher.run())?;
        Ok(Self { shared, workers: workers.to_vec(), watcher: Some(watcher) })
    }

    /// Lets a machine that is no worker reach the pods, through the workers. By IPv6 as well if it
    /// and the workers have addresses of one network there.
    ///
    /// # Errors
    /// When the machine does not reach the workers.
    pub fn route_from(&self, node: &Node) -> Result<()> {
        self.workers.iter().try_for_each(|worker| worker.route_from(&node.namespace))
    }

    /// Kills the processes of a pod, as a crash would. The pod is not ready until they run again.
    ///
    /// # Errors
    /// When it does not run here.
    pub fn crash(&self, namespace: &str, name: &str) -> Result<()> {
        let pods = self.shared.pods.lock().expect(NO_PANIC);
        let pod = pods.values().find(|pod| pod.key.0 == namespace && pod.key.1 == name);
        let pod = pod.with_context(|| format!("no pod {namespace}/{name} runs here"))?;
        pod.orders.try_send(Order::Crash).context("the pod has too many orders")
    }
}

impl Drop for PodPlayer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(watch) = &*self.shared.watch.lock().expect(NO_PANIC) {
            // It may have ended by itself.
            let _ = watch.shutdown(Shutdown::Both);
        }
        if let Some(watcher) = self.watcher.take() {
            // It does not panic; if it did, that was printed.
            let _ = watcher.join();
        }
    }
}

const NO_PANIC: &str = "no holder of the lock panics";

impl Watcher {
    fn run(&mut self) {
        while !self.stopping() {
            // The API server is away, or ended the watch: then from the beginning.
            let _ = self.follow();
            std::thread::sleep(RELIST_INTERVAL);
        }
        let pods = std::mem::take(&mut *self.shared.pods.lock().expect(NO_PANIC));
        self.past.extend(pods.into_values().map(|pod| pod.life));
        for life in self.past.drain(..) {
            let _ = life.join();
        }
    }

    fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::SeqCst)
    }

    fn follow(&mut self) -> Result<()> {
        let list = self.api.get("/api/v1/pods")?;
        let version = list["metadata"]["resourceVersion"].as_str().context("a version")?;
        let mut present = BTreeSet::new();
        for pod in spec::list(&list["items"]) {
            present.insert(uid(pod).to_owned());
            self.see(pod);
        }
        self.retain(|uid| present.contains(uid));
        let watch = self.api.watch(&format!("/api/v1/pods?watch=1&resourceVersion={version}"))?;
        *self.shared.watch.lock().expect(NO_PANIC) = Some(watch.stream()?);
        if self.stopping() {
            // Whoever stops it did not find the stream.
            return Ok(());
        }
        for event in watch {
            let (kind, pod) = event?;
            if kind == "DELETED" {
                self.retain(|one| one != uid(&pod));
            } else {
                self.see(&pod);
            }
        }
        Ok(())
    }

    /// A pod as it is now.
    fn see(&mut self, pod: &Value) {
        let deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        let shared = Arc::clone(&self.shared);
        let mut pods = shared.pods.lock().expect(NO_PANIC);
        if let Some(played) = pods.get(uid(pod)) {
            if deleted {
                let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
                // Full only with such orders, of which one is enough.
                let _ = played.orders.try_send(Order::End(Duration::from_secs(grace)));
            }
            return;
        }
        let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if finished || (deleted && pod["spec"]["nodeName"].is_null()) {
            return;
        }
        match pod["spec"]["nodeName"].as_str() {
            None => {
                drop(pods);
                self.schedule(pod);
            }
            Some(node) => {
                let worker = self.workers.iter().find(|worker| worker.name() == node);
                if let Some(worker) = worker
                    && let Some(played) = self.start(pod, worker)
                {
                    pods.insert(uid(pod).to_owned(), played);
                    drop(pods);
                    if deleted {
                        self.see(pod);
                    }
                }
            }
        }
    }

    /// Binds it to the worker that it selects by its name, or to the next one in turn.
    fn schedule(&mut self, pod: &Value) {
        if !pod["spec"]["schedulingGates"].is_null() {
            return;
        }
        let selected = pod["spec"]["nodeSelector"]["kubernetes.io/hostname"].as_str();
        let worker = match selected {
            Some(name) => self.workers.iter().find(|worker| worker.name() == name),
            None => self.workers.get(self.turns % self.workers.len()),
        };
        let Some(worker) = worker else { return };
        // It is often seen again before its binding is; the second one fails and is nobody's turn.
        // Where somebody else bound or deleted it, that is heard next.
        let bound = bind(&self.api, pod, worker).is_ok();
        self.turns += usize::from(bound && selected.is_none());
    }

    fn start(&self, pod: &Value, worker: &Worker) -> Option<Played> {
        let (sender, orders) = sync_channel(ORDERS);
        let life = Life {
            api: Arc::clone(&self.api),
            worker: worker.clone(),
            images: self.images.clone(),
            pod: pod.clone(),
            directory: place(&self.directory, uid(pod)),
            orders,
        };
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (text("namespace"), text("name"));
        // Where no thread can be started, the pod waits for a machine with more room.
        let thread = std::thread::Builder::new().name(key.1.clone());
        let life = thread.spawn(move || life.live()).ok()?;
        Some(Played { key, orders: sender, life })
    }

    /// Gives up the pods that are not kept; their lives end by themselves.
    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let mut pods = self.shared.pods.lock().expect(NO_PANIC);
        let gone: Vec<_> = pods.extract_if(.., |uid, _| !keep(uid)).collect();
        self.past.extend(gone.into_iter().map(|(_, pod)| pod.life));
        self.past.retain(|life| !life.is_finished());
    }
}

fn bind(api: &Api, pod: &Value, worker: &Worker) -> Result<()> {
    let text = |field: &str| pod["metadata"][field].as_str().context("a pod has names");
    let (namespace, name) = (text("namespace")?, text("name")?);
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": uid(pod)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": worker.name()},
    });
    api.create(&format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"), &binding).map(|_| ())
}

/// What the only container of a pod would run, with `entrypoint` as its program and the volumes below
/// `directory`, for one that starts it without a player.
pub(super) fn only_program(
    pod: &Value,
    entrypoint: &str,
    host: IpAddr,
    directory: &Path,
) -> Result<Program> {
    let containers = spec::containers(pod)?;
    let [container] = containers.as_slice() else {
        bail!("it has {} containers", containers.len())
    };
    let volumes = list(&pod["spec"]["volumes"]).iter().filter_map(|volume| volume["name"].as_str());
    let volumes = volumes.map(|name| (name.to_owned(), directory.join(name))).collect();
    // A machine of its own stands for the pod, which has the node's address.
    let addresses = &[host];
    container.program(entrypoint, &Surroundings { pod, addresses, host, volumes: &volumes })
}

fn uid(pod: &Value) -> &str {
    pod["metadata"]["uid"].as_str().unwrap_or_default()
}

fn place(directory: &Path, uid: &str) -> PathBuf {
    directory.join(uid)
}
