//! FRR and BIRD, each in the namespace of a node, with a configuration given as text.
//!
//! Needs the routers from Debian (`scripts/install-test-tools.sh`) and root, since FRR changes to a user of
//! its own.

mod config;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::{Node, Process, Program, Result, eventually};

/// How long a daemon may take to start.
const START: Duration = Duration::from_secs(20);

/// Which router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// FRR.
    Frr,
    /// BIRD 2.
    Bird,
}

/// How a router is to speak with the node.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its AS number.
    pub asn: u32,
    /// Its neighbours.
    pub peers: Vec<PeerSetup>,
    /// Runs a daemon for BFD (FRR).
    pub bfd: bool,
}

/// A neighbour of the router.
#[derive(Clone, Debug)]
pub struct PeerSetup {
    /// The node's address; with `%eth0` where it is link-local.
    pub address: String,
    /// The router's own address towards it.
    pub local: String,
    /// The node's AS number.
    pub asn: u32,
    /// The key of TCP MD5.
    pub password: Option<String>,
    /// Routers may be in between.
    pub multihop: bool,
    /// Sends with TTL 255 and asks for it.
    pub ttl_security: bool,
    /// Keeps routes over a restart of the node.
    pub graceful_restart: bool,
    /// FRR only: as before RFC 5492.
    pub without_capabilities: bool,
    /// Transmit interval, in milliseconds, times three.
    pub bfd: Option<u32>,
    /// FRR only: with BFD's echo function, as often, in milliseconds. That of the first neighbour is all's.
    pub echo: Option<u32>,
    /// Announces a route of its own.
    pub announces: bool,
    /// Does not only wait for calls of the node.
    pub dials: bool,
}

impl Setup {
    /// AS 65002 with the node, AS 65001.
    #[must_use]
    pub fn new(local: &str, address: &str) -> Setup {
        Setup { asn: 65002, peers: vec![PeerSetup::new(local, address)], bfd: false }
    }

    /// The same, but for its first neighbour.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut PeerSetup)) -> Setup {
        change(&mut self.peers[0]);
        self
    }
}

impl PeerSetup {
    /// One without anything special, of AS 65001.
    #[must_use]
    pub fn new(local: &str, address: &str) -> PeerSetup {
        PeerSetup {
            address: address.to_owned(),
            local: local.to_owned(),
            asn: 65001,
            password: None,
            multihop: false,
            ttl_security: false,
            graceful_restart: false,
            without_capabilities: false,
            bfd: None,
            echo: None,
            announces: false,
            dials: false,
        }
    }
}

/// A running router. It ends when dropped.
#[derive(Debug)]
pub struct Router {
    make: Make,
    namespace: String,
    directory: TempDir,
    daemons: Vec<Process>,
}

impl Router {
    /// Starts one on a node, which forwards from then on. When it returns, it listens.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(make: Make, node: &Node, setup: &Setup) -> Result<Router> {
        for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
            node.sysctl(&format!("net.{family}"), "1")?;
        }
        let directory = tempfile::tempdir()?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
        let namespace = node.namespace().to_owned();
        let mut router = Router { make, namespace, directory, daemons: Vec::new() };
        match make {
            Make::Frr => router.start_frr(node, setup)?,
            Make::Bird => router.start_bird(node, setup)?,
        }
        router.listens(node)?;
        Ok(router)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, Permissions::from_mode(0o644))?)
    }

    fn start_frr(&mut self, node: &Node, setup: &Setup) -> Result<()> {
        self.write("zebra.conf", "hostname router\nlog stdout\n")?;
        self.write("bgpd.conf", &config::frr(setup))?;
        self.write("bfdd.conf", &config::bfdd(setup))?;
        self.write("vtysh.conf", "")?;
        let daemons: &[&str] =
            if setup.bfd { &["zebra", "bfdd", "bgpd"] } else { &["zebra", "bgpd"] };
        for name in daemons {
            let mut program = Program::new(PathBuf::from("/usr/lib/frr").join(name))
                .arg("-z")
                .arg(self.file("zserv.api"))
                .arg("--vty_socket")
                .arg(self.directory.path())
                .args(["-P", "0", "-i"])
                .arg(self.file(&format!("{name}.pid")))
                .arg("-f")
                .arg(self.file(&format!("{name}.conf")));
            program = match *name {
                "bfdd" => program.arg("--bfdctl").arg(self.file("bfdd.sock")),
                "bgpd" => program.args(["-e", "16"]),
                _ => program,
            };
            self.daemons.push(node.spawn(program)?);
            let socket = self.file(&format!("{name}.vty"));
            eventually(START, || {
                ensure!(socket.exists(), "{name} does not start");
                Ok(())
            })?;
        }
        Ok(())
    }

    fn start_bird(&mut self, node: &Node, setup: &Setup) -> Result<()> {
        self.write("bird.conf", &config::bird(setup))?;
        let program = Program::new("bird")
            .args(["-f", "-c"])
            .arg(self.file("bird.conf"))
            .arg("-s")
            .arg(self.file("bird.ctl"))
            .arg("-P")
            .arg(self.file("bird.pid"));
        self.daemons.push(node.spawn(program)?);
        Ok(())
    }

    fn listens(&self, node: &Node) -> Result<()> {
        eventually(START, || {
            let listening = node.run("ss", ["-Htln", "sport", "=", ":179"])?;
            ensure!(!listening.is_empty(), "{:?} does not listen: {}", self.make, self.printed());
            Ok(())
        })
    }

    /// What the router's own tool says, or why it says nothing.
    #[must_use]
    pub fn ask(&self, question: &str) -> String {
        let mut command = match self.make {
            Make::Frr => Command::new("vtysh"),
            Make::Bird => Command::new("birdc"),
        };
        match self.make {
            Make::Frr => {
                command.arg("--vty_socket").arg(self.directory.path()).args(["-c", question])
            }
            Make::Bird => command.arg("-s").arg(self.file("bird.ctl")).arg(question),
        };
        match command.output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{command:?}: {error}"),
        }
    }

    /// What its daemons have logged.
    #[must_use]
    pub fn printed(&self) -> String {
        self.daemons.iter().map(|one| one.output().stdout_text()).collect()
    }

    /// All it knows about its peers, for messages.
    #[must_use]
    pub fn tell(&self) -> String {
        match self.make {
            Make::Frr => self.ask("show bgp summary"),
            Make::Bird => self.ask("show protocols all"),
        }
    }

    /// What it knows about a prefix.
    #[must_use]
    pub fn route(&self, prefix: &str) -> String {
        match self.make {
            Make::Frr if prefix.contains(':') => {
                self.ask(&format!("show bgp ipv6 unicast {prefix}"))
            }
            Make::Frr => self.ask(&format!("show bgp ipv4 unicast {prefix}")),
            Make::Bird => self.ask(&format!("show route all for {prefix}")),
        }
    }

    /// Where the kernel of the router sends what is for this prefix, sorted.
    ///
    /// # Errors
    /// When its table cannot be read.
    pub fn next_hops(&self, prefix: &str) -> Result<Vec<String>> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let arguments = ["-n", &self.namespace, family, "-j", "route", "show", prefix];
        let output = Command::new("ip").args(arguments).output().context("ip")?;
        let routes: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let mut found = Vec::new();
        for route in routes.as_array().into_iter().flatten() {
            let one = [route];
            let hops =
                route["nexthops"].as_array().map_or(one.to_vec(), |hops| hops.iter().collect());
            for hop in hops {
                let via = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
                found.extend(via.map(ToOwned::to_owned));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Waits until it forwards to exactly these next hops.
    ///
    /// # Errors
    /// When it does not in this time; with what it knows instead.
    pub fn forwards(&self, prefix: &str, next_hops: &[&str], within: Duration) -> Result<()> {
        eventually(within, || {
            let found = self.next_hops(prefix)?;
            ensure!(found == next_hops, "{prefix} goes to {found:?}\n{}", self.tell());
            Ok(())
        })
    }

    /// Puts its daemons before everything else on this machine, as if they had one of their own.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn prioritise(&self) -> Result<()> {
        for daemon in &self.daemons {
            let mut command = Command::new("chrt");
            command.args(["--all-tasks", "--rr", "--pid", "10", &daemon.pid().to_string()]);
            let output = command.output().context("chrt")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Ends it at once, as a loss of power does.
    pub fn kill(self) {
        drop(self);
    }
}
