//! Who is measured, each with settings at its best for this work, and equally many threads.

mod config;
mod install;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use rustix::process::Signal;
use tempfile::TempDir;
use vipgate_lab::{Process, Program, eventually};

use config::Port;

use crate::cpu;
use crate::service::{DATAGRAMS, ECHO, IPERF, Kind, Service};
use crate::site::{FRONT, SERVER, Site, VIP};

/// One that forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// Nobody: the kernel routes.
    Direct,
    /// The kernel, by nftables.
    Dnat,
    Vipgate,
    Envoy,
    /// As people deploy it.
    Haproxy,
    /// With `option splice-request`, `splice-response` and pipes of 1 MiB.
    HaproxySplice,
    Nginx,
}

impl Peer {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Direct,
        Self::Dnat,
        Self::Vipgate,
        Self::Envoy,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::Nginx,
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Dnat => "nftables DNAT",
            Self::Vipgate => "vipgate",
            Self::Envoy => "Envoy",
            Self::Haproxy => "HAProxy",
            Self::HaproxySplice => "HAProxy, forced splice",
            Self::Nginx => "nginx stream",
        }
    }

    /// Whether it is a program whose CPU time and memory can be seen.
    pub(crate) fn is_program(self) -> bool {
        !matches!(self, Self::Direct | Self::Dnat)
    }

    /// Whether it does such work, in a way of its own: HAProxy has no UDP, splices nothing that it decrypts, and where TLS
    /// is not looked at it is plain TCP.
    pub(crate) fn does(self, kind: Kind) -> bool {
        match self {
            Self::Direct | Self::Dnat => matches!(kind, Kind::Tcp | Kind::Udp),
            Self::Vipgate | Self::Envoy | Self::Nginx => true,
            Self::Haproxy => kind != Kind::Udp,
            Self::HaproxySplice => matches!(kind, Kind::Tcp | Kind::Passthrough),
        }
    }

    /// Clients connect to the port of a service plus this; all peers run at once, and only one has anything to do.
    fn shift(self) -> u16 {
        match self {
            Self::Direct | Self::Vipgate => 0,
            Self::Dnat => 1_000,
            Self::Envoy => 2_000,
            Self::Haproxy => 3_000,
            Self::HaproxySplice => 4_000,
            Self::Nginx => 5_000,
        }
    }

    /// Where clients connect for the port of a service.
    pub(crate) fn front(self, port: u16) -> String {
        let host = match self {
            Self::Direct => SERVER,
            Self::Vipgate => VIP,
            _ => FRONT,
        };
        format!("{host}:{}", port + self.shift())
    }
}

/// A peer that is ready.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    /// What it says of its version.
    pub(crate) version: String,
    process: Option<Process>,
    _directory: TempDir,
}

impl Running {
    /// Starts one, and waits until it forwards.
    pub(crate) fn start(peer: Peer, site: &Site, threads: usize, vipgate: &Path) -> Result<Self> {
        let directory = TempDir::new()?;
        let at = directory.path();
        let file = |name: &str, text: String| -> Result<String> {
            let path = at.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(path.display().to_string())
        };
        let ports = Service::ALL.iter().filter(|service| peer.does(service.kind));
        let ports: Vec<Port> = ports
            .map(|service| Port {
                front: service.port + peer.shift(),
                kind: service.kind,
                back: service.server,
            })
            .collect();
        let identity = &site.identity;
        let (program, version) = match peer {
            Peer::Direct => (None, kernel()?),
            Peer::Dnat => {
                let rules = file("rules.nft", config::nft(&ports))?;
                site.proxy.run("nft", ["-f", &rules])?;
                (None, kernel()?)
            }
            Peer::Vipgate => {
                file("manifests.yaml", config::vipgate(&ports, identity))?;
                let state = at.join("state").display().to_string();
                fs::create_dir(at.join("state"))?;
                let program = Program::new(vipgate).arg("run").arg(at).args([
                    "--workers",
                    &threads.to_string(),
                    "--state",
                    &format!("{state}/state"),
                    "--admin",
                    &format!("{state}/admin"),
                ]);
                (Some(program), first_line(vipgate, "--version")?)
            }
            Peer::Envoy => {
                let binary = install::envoy()?;
                let config = file("envoy.yaml", config::envoy(&ports, identity))?;
                let program = Program::new(&binary).args([
                    "-c",
                    &config,
                    "--concurrency",
                    &threads.to_string(),
                    "--log-level",
                    "warning",
                    "--disable-hot-restart",
                ]);
                (Some(program), first_line(&binary, "--version")?)
            }
            Peer::Haproxy | Peer::HaproxySplice => {
                let splice = peer == Peer::HaproxySplice;
                let config = config::haproxy(&ports, threads, splice, identity);
                let config = file("haproxy.cfg", config)?;
                let program = Program::new("haproxy").args(["-db", "-f", &config]);
                (Some(program), first_line("/usr/sbin/haproxy", "-v")?)
            }
            Peer::Nginx => {
                let config = file("nginx.conf", config::nginx(&ports, threads, at, identity))?;
                let program = Program::new("nginx").args(["-c", &config]);
                (Some(program), first_line("/usr/sbin/nginx", "-v")?)
            }
        };
        let process = program.map(|program| site.proxy.spawn(program)).transpose()?;
        let running = Self { peer, version, process, _directory: directory };
        running.wait(site)?;
        Ok(running)
    }

    /// Ends it, and starts another in its place: what a process was given once it keeps, and its memory is to be seen.
    pub(crate) fn renew(&mut self, site: &Site, threads: usize, vipgate: &Path) -> Result<()> {
        self.stop();
        *self = Self::start(self.peer, site, threads, vipgate)?;
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            // Those that have workers end them by this; whatever is left is killed by the lab.
            let _ = process.signal(Signal::TERM);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Until an echo comes through, and every port is there.
    fn wait(&self, site: &Site) -> Result<()> {
        let outcome = eventually(Duration::from_secs(10), || {
            site.client.enter(|| Service::ALL.iter().try_for_each(|service| self.try_one(*service)))
        });
        let said = || self.process.as_ref().map(Process::tail).unwrap_or_default();
        outcome.with_context(|| format!("{} does not forward\n{}", self.peer.name(), said()))
    }

    /// Whether a service is there. What is behind TLS shows by its first measurement.
    fn try_one(&self, service: Service) -> Result<()> {
        // iperf3 takes whoever comes for a client of its own.
        if !self.peer.does(service.kind) || service.port == IPERF {
            return Ok(());
        }
        let front = self.peer.front(service.port);
        let patience = Some(Duration::from_secs(1));
        let failed = || format!("at {front}");
        if service.port == DATAGRAMS {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(&front)?;
            socket.set_read_timeout(patience)?;
            socket.send(b"x")?;
            return socket.recv(&mut [0]).map(drop).with_context(failed);
        }
        let mut stream = TcpStream::connect(&front).with_context(failed)?;
        if service.port == ECHO {
            stream.set_read_timeout(patience)?;
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0]).with_context(failed)?;
        }
        Ok(())
    }

    /// Its processes; none where the kernel does it.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.process.as_ref().map(|process| cpu::family(process.pid())).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

fn kernel() -> Result<String> {
    Ok(format!("Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()))
}

fn first_line(program: impl AsRef<Path>, argument: &str) -> Result<String> {
    let program = program.as_ref();
    let output = std::process::Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let all = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&all);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    // Some say their path first.
    let path = program.display().to_string();
    Ok(line.strip_prefix(&path).unwrap_or(line).trim().to_owned())
}
