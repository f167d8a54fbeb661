//! Network namespaces that a test makes, enters and leaves nothing of.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A named network namespace with `lo` up; removed when dropped, also by a panic.
pub(crate) struct Netns {
    pub(crate) name: String,
}

impl Netns {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let netns = Self { name: format!("vg-host-{}-{number}", std::process::id()) };
        succeed(Command::new("ip").args(["netns", "add", &netns.name]));
        netns.run("ip link set lo up");
        netns
    }

    /// Two namespaces joined by `veth0`: 10.9.0.1/24 here, 10.9.0.2/24 there.
    pub(crate) fn pair() -> (Self, Self) {
        let (here, there) = (Self::new(), Self::new());
        here.run(&format!("ip link add veth0 type veth peer name veth0 netns {}", there.name));
        for (netns, address) in [(&here, "10.9.0.1/24"), (&there, "10.9.0.2/24")] {
            netns.run(&format!("ip addr add {address} dev veth0"));
            netns.run("ip link set veth0 up");
        }
        (here, there)
    }

    /// Tells this namespace whose `ip` is: the kernel of `owner` is silent about it.
    pub(crate) fn knows(&self, ip: &str, owner: &Netns) {
        let shown = owner.run("ip -j link show dev veth0");
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        let mac = shown[0]["address"].as_str().expect("a MAC");
        self.run(&format!("ip neigh replace {ip} lladdr {mac} dev veth0"));
    }

    /// A command with its words, to be run inside.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(line.split_whitespace());
        command
    }

    /// Runs a command inside, which must succeed, and returns what it printed.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = succeed(&mut self.command(line));
        String::from_utf8(output.stdout).expect("commands print text")
    }

    /// Runs many `ip` commands in one process; all must succeed.
    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut command = self.command("ip -batch -");
        let mut running = Running::start(command.stdin(Stdio::piped()));
        let mut input = running.0.stdin.take().expect("piped");
        input.write_all(lines.as_bytes()).expect("ip reads to the end");
        drop(input);
        assert!(running.0.wait().expect("it ends").success(), "ip -batch in {}", self.name);
    }

    /// Whether a command inside succeeds.
    pub(crate) fn succeeds(&self, line: &str) -> bool {
        self.command(line).output().expect("command runs").status.success()
    }

    /// Starts an ignored test of this binary inside, as a process of its own.
    pub(crate) fn spawn_test(&self, name: &str, environment: &[(&str, &str)]) -> Running {
        let binary = std::env::current_exe().expect("this test");
        let line = format!("{} --exact {name} --ignored --nocapture", binary.display());
        Running::start(self.command(&line).envs(environment.iter().copied()))
    }

    /// Runs `test` on a thread of its own inside, on a current-thread runtime.
    pub(crate) fn inside<T: Send>(&self, test: impl AsyncFnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let in_thread = || {
            let file = File::open(path).expect("the namespace is there");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering a network namespace needs root or a user namespace");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("runtime").block_on(test())
        };
        std::thread::scope(|scope| match scope.spawn(in_thread).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// The entries of `addr_info` on `dev`, as `ip -j addr` shows them.
    pub(crate) fn addresses(&self, dev: &str) -> Vec<serde_json::Value> {
        let shown = self.run(&format!("ip -j addr show dev {dev}"));
        let mut links: Vec<serde_json::Value> = serde_json::from_str(&shown).expect("JSON");
        match links.pop().map(|mut link| link["addr_info"].take()) {
            Some(serde_json::Value::Array(addresses)) => addresses,
            _ => Vec::new(),
        }
    }

    /// The entry for `ip` on `lo`.
    pub(crate) fn on_lo(&self, ip: IpAddr) -> Option<serde_json::Value> {
        self.addresses("lo").into_iter().find(|entry| entry["local"] == ip.to_string())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Nothing to be done about a failure while unwinding; the name shows whose it is.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A running command, killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// The lines that it prints from now on, without empty ones.
    pub(crate) fn lines(&mut self) -> Receiver<String> {
        let output = self.0.stdout.take().expect("taken once");
        let (sender, receiver) = sync_channel(1000);
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.filter(|line| !line.is_empty()).try_for_each(|line| sender.send(line))
        });
        receiver
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `check` holds and returns how long that took; panics after `limit`.
pub(crate) fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {errors}");
    output
}
