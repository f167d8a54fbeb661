//! The life of one pod on its worker: a thread that does what a kubelet does for it.
//!
//! ```text
//! volumes there ──> network ──> processes ──> they listen ──> ready ──> told to end ──> deleted
//!       └─ asked for again          └── one ended: not ready, again after a second
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::api::{Api, Patch, Refusal, is_not_found};
use super::super::worker::Worker;
use super::images::{Image, Images};
use super::sandbox::Sandbox;
use super::sockets::{self, Protocol};
use super::spec::{self, Surroundings};
use super::status::{self, Progress};
use super::volumes;
use crate::{Process, Result};

/// How soon what is missing is asked for again, and a process looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long a program that ended is left alone; kubelet begins with ten seconds.
const BACKOFF: Duration = Duration::from_secs(1);

/// What a pod is told.
#[derive(Debug)]
pub(super) enum Order {
    /// End within this time, as its deletion says.
    End(Duration),
    /// Its processes die, as by a crash.
    Crash,
}

/// Why a life is over.
enum End {
    /// It was deleted; the time its processes get.
    Deleted(Duration),
    /// The object is gone, or the player ends: there is nobody to tell.
    Abandoned,
}

type Lived<T> = std::result::Result<T, End>;

/// A pod that was bound to a worker.
pub(super) struct Life {
    pub(super) api: Arc<Api>,
    pub(super) worker: Worker,
    pub(super) images: Images,
    pub(super) pod: Value,
    /// Of its own; for its volumes.
    pub(super) directory: PathBuf,
    /// Closed when the pod is gone.
    pub(super) orders: Receiver<Order>,
}

/// A pod's processes, in its network. The order is that of dropping.
struct Running {
    processes: Vec<(Process, BTreeSet<(Protocol, u16)>)>,
    sandbox: Sandbox,
}

/// A process, and the ports that its container names.
type Started = (Process, BTreeSet<(Protocol, u16)>);

impl Life {
    /// Lives it to its end.
    pub(super) fn live(self) {
        let mut running = None;
        let Err(end) = self.run(&mut running);
        if let (End::Deleted(grace), Some(running)) = (&end, &mut running) {
            running.end(*grace);
        }
        drop(running);
        // Temporary files; the cluster's directory takes with it what cannot be removed here.
        let _ = std::fs::remove_dir_all(&self.directory);
        if matches!(end, End::Deleted(_)) {
            self.delete();
        }
    }

    fn run(&self, place: &mut Option<Running>) -> Lived<std::convert::Infallible> {
        let running = place.insert(self.start()?);
        let mut restarts = 0;
        loop {
            while !running.listens() && !running.has_ended() {
                self.pause(INTERVAL, running)?;
            }
            if !running.has_ended() {
                self.report(&running.progress(true, restarts))?;
            }
            while !running.has_ended() {
                self.pause(INTERVAL, running)?;
            }
            restarts += 1;
            self.report(&running.progress(false, restarts))?;
            self.pause(BACKOFF, running)?;
            // Where it does not start, it is as if it had ended.
            running.processes = self.processes(&running.sandbox).unwrap_or_default();
        }
    }

    /// Tries until all it needs is there. Why it is not is told in the status.
    fn start(&self) -> Lived<Running> {
        let mut told = String::new();
        loop {
            let error = match self.try_start() {
                Ok(running) => return Ok(running),
                Err(error) => format!("{error:#}"),
            };
            if error != told {
                self.report(&Progress::Waiting(&error))?;
                told = error;
            }
            self.wait(INTERVAL)?;
        }
    }

    fn try_start(&self) -> Result<Running> {
        // Before there is a network: what fails often is tried first.
        for container in spec::containers(&self.pod)? {
            self.images.get(container.image)?;
        }
        volumes::write(&self.api, &self.pod, &self.directory)?;
        let sandbox = Sandbox::create(&self.worker)?;
        Ok(Running { processes: self.processes(&sandbox)?, sandbox })
    }

    fn processes(&self, sandbox: &Sandbox) -> Result<Vec<Started>> {
        let volumes = volumes::write(&self.api, &self.pod, &self.directory)?;
        let around = Surroundings {
            pod: &self.pod,
            addresses: sandbox.addresses(),
            host: self.host(),
            volumes: &volumes,
        };
        let mut processes = vec![];
        for container in spec::containers(&self.pod)? {
            if let Image::Program(entrypoint) = self.images.get(container.image)? {
                let program = container.program(entrypoint, &around)?;
                processes.push((sandbox.spawn(program)?, container.ports()));
            }
        }
        Ok(processes)
    }

    /// Waits, and obeys.
    fn pause(&self, time: Duration, running: &mut Running) -> Lived<()> {
        if let Some(Order::Crash) = self.wait(time)? {
            running.crash();
        }
        Ok(())
    }

    fn wait(&self, time: Duration) -> Lived<Option<Order>> {
        match self.orders.recv_timeout(time) {
            Ok(Order::End(grace)) => Err(End::Deleted(grace)),
            Ok(order) => Ok(Some(order)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(End::Abandoned),
        }
    }

    /// Writes the status, and does not give up where the API server is away.
    fn report(&self, progress: &Progress<'_>) -> Lived<()> {
        // That of a pod whose containers cannot be read tells of none.
        let containers = spec::containers(&self.pod).unwrap_or_default();
        let patch = status::patch(self.uid(), self.host(), &containers, progress);
        let path = format!("{}/status", self.path());
        loop {
            match self.api.patch(&path, Patch::Strategic, &patch) {
                Ok(_) => return Ok(()),
                // Another pod has its name; that this one is gone is about to be heard.
                Err(error) if is_final(&error) => return Ok(()),
                Err(_) => self.wait(INTERVAL)?,
            };
        }
    }

    /// The last thing a kubelet does: until then the object is there, with its deletion's time.
    fn delete(&self) {
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid()}});
        while let Err(error) = self.api.delete(&self.path(), &options) {
            if is_final(&error) || matches!(self.wait(INTERVAL), Err(End::Abandoned)) {
                return;
            }
        }
    }

    fn uid(&self) -> &str {
        self.pod["metadata"]["uid"].as_str().unwrap_or_default()
    }

    fn host(&self) -> IpAddr {
        self.worker.address().into()
    }

    fn path(&self) -> String {
        let metadata = &self.pod["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"))
    }
}

impl Running {
    fn listens(&self) -> bool {
        self.processes.iter().all(|(process, ports)| listens(process.pid(), ports).is_ok())
    }

    fn has_ended(&self) -> bool {
        self.processes.iter().any(|(process, _)| process.has_ended())
    }

    fn progress(&self, ready: bool, restarts: u32) -> Progress<'_> {
        Progress::Running { addresses: self.sandbox.addresses(), ready, restarts }
    }

    fn crash(&mut self) {
        for (process, _) in &mut self.processes {
            process.kill();
        }
    }

    /// Asks them to end, and ends them when their time is over.
    fn end(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        for (process, _) in &self.processes {
            // It may have ended.
            let _ = process.signal(Signal::TERM);
        }
        for (process, _) in &mut self.processes {
            while !process.has_ended() && Instant::now() < deadline {
                std::thread::sleep(INTERVAL.min(grace));
            }
        }
        self.crash();
    }
}

/// Where it declares no ports, any will do.
fn listens(pid: u32, declared: &BTreeSet<(Protocol, u16)>) -> Result<()> {
    let open = sockets::open(pid).context("its sockets cannot be read")?;
    ensure!(!open.is_empty() && declared.is_subset(&open), "it does not listen yet");
    Ok(())
}

/// Asking again would not help: the pod is gone.
fn is_final(error: &anyhow::Error) -> bool {
    let conflict = error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == 409);
    conflict || is_not_found(error)
}
