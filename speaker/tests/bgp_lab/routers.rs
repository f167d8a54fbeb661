//! FRR and BIRD, each in the namespace of a node, with a configuration given as text.

use std::fmt::Write;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use vipgate_lab::{Node, Process, Program, eventually};

/// Which router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Frr,
    Bird,
}

/// How a router is to speak with the node.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) asn: u32,
    pub(crate) peers: Vec<PeerSetup>,
    pub(crate) bfd: bool,
}

/// A neighbour of the router.
#[derive(Clone)]
pub(crate) struct PeerSetup {
    /// The node's address; with `%eth0` where it is link-local.
    pub(crate) address: String,
    /// The router's own address towards it.
    pub(crate) local: String,
    pub(crate) asn: u32,
    pub(crate) password: Option<String>,
    pub(crate) multihop: bool,
    /// Sends with TTL 255 and asks for it.
    pub(crate) ttl_security: bool,
    pub(crate) graceful_restart: bool,
    /// FRR only: as before RFC 5492.
    pub(crate) without_capabilities: bool,
    /// Transmit interval, in milliseconds, times three.
    pub(crate) bfd: Option<u32>,
    /// Announces a route of its own.
    pub(crate) announces: bool,
}

impl Setup {
    /// AS 65002 with the node, AS 65001.
    pub(crate) fn new(local: &str, address: &str) -> Setup {
        Setup { asn: 65002, peers: vec![PeerSetup::new(local, address)], bfd: false }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut PeerSetup)) -> Setup {
        change(&mut self.peers[0]);
        self
    }
}

impl PeerSetup {
    pub(crate) fn new(local: &str, address: &str) -> PeerSetup {
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
            announces: false,
        }
    }
}

/// A running router. It ends when dropped.
pub(crate) struct Router<'a> {
    make: Make,
    node: &'a Node,
    directory: TempDir,
    daemons: Vec<Process>,
}

impl<'a> Router<'a> {
    pub(crate) fn start(make: Make, node: &'a Node, setup: &Setup) -> Router<'a> {
        for family in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
            node.sysctl(&format!("net.{family}"), "1").unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let mut router = Router { make, node, directory, daemons: Vec::new() };
        match make {
            Make::Frr => router.start_frr(setup),
            Make::Bird => router.start_bird(setup),
        }
        router
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.file(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    }

    fn start_frr(&mut self, setup: &Setup) {
        self.write("zebra.conf", "hostname router\nlog stdout\n");
        self.write("bgpd.conf", &frr(setup));
        self.write("bfdd.conf", &bfdd(setup));
        self.write("vtysh.conf", "");
        let daemons: &[&str] =
            if setup.bfd { &["zebra", "bfdd", "bgpd"] } else { &["zebra", "bgpd"] };
        for name in daemons {
            let program = Program::new(PathBuf::from("/usr/lib/frr").join(name))
                .args(["-z", &self.file("zserv.api"), "--vty_socket"])
                .args([self.directory.path().to_str().unwrap(), "-P", "0"])
                .args(["-i", &self.file(&format!("{name}.pid"))])
                .args(["-f", &self.file(&format!("{name}.conf"))])
                .args(if *name == "bfdd" {
                    vec!["--bfdctl".to_owned(), self.file("bfdd.sock")]
                } else if *name == "bgpd" {
                    vec!["-e".to_owned(), "16".to_owned()]
                } else {
                    vec![]
                });
            self.daemons.push(self.node.spawn(program).unwrap());
            let socket = PathBuf::from(self.file(&format!("{name}.vty")));
            eventually(Duration::from_secs(20), || {
                anyhow::ensure!(socket.exists(), "{name} does not start");
                Ok(())
            })
            .unwrap();
        }
        self.listens();
    }

    fn start_bird(&mut self, setup: &Setup) {
        self.write("bird.conf", &bird(setup));
        let program = Program::new("bird")
            .args(["-f", "-c", &self.file("bird.conf"), "-s", &self.file("bird.ctl")])
            .args(["-P", &self.file("bird.pid")]);
        self.daemons.push(self.node.spawn(program).unwrap());
        self.listens();
    }

    fn listens(&self) {
        eventually(Duration::from_secs(20), || {
            let listening = self.node.run("ss", ["-Htln", "sport", "=", ":179"])?;
            anyhow::ensure!(!listening.is_empty(), "{:?} does not listen", self.make);
            Ok(())
        })
        .unwrap();
    }

    /// What the router's own tool says.
    pub(crate) fn ask(&self, question: &str) -> String {
        let mut command = match self.make {
            Make::Frr => Command::new("vtysh"),
            Make::Bird => Command::new("birdc"),
        };
        match self.make {
            Make::Frr => command
                .args(["--vty_socket", self.directory.path().to_str().unwrap()])
                .args(["-c", question]),
            Make::Bird => command.args(["-s", &self.file("bird.ctl"), question]),
        };
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What its daemons have logged.
    pub(crate) fn printed(&self) -> String {
        self.daemons.iter().map(|one| one.output().stdout_text()).collect()
    }

    /// All it knows about its peers, for messages.
    pub(crate) fn tell(&self) -> String {
        match self.make {
            Make::Frr => self.ask("show bgp summary"),
            Make::Bird => self.ask("show protocols all"),
        }
    }

    /// What it knows about a prefix.
    pub(crate) fn route(&self, prefix: &str) -> String {
        match self.make {
            Make::Frr if prefix.contains(':') => {
                self.ask(&format!("show bgp ipv6 unicast {prefix}"))
            }
            Make::Frr => self.ask(&format!("show bgp ipv4 unicast {prefix}")),
            Make::Bird => self.ask(&format!("show route all for {prefix}")),
        }
    }

    /// Where the kernel of the router sends what is for this prefix, sorted.
    pub(crate) fn next_hops(&self, prefix: &str) -> Vec<String> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let arguments = ["-n", self.node.namespace(), family, "-j", "route", "show", prefix];
        let output = Command::new("ip").args(arguments).output().unwrap();
        let routes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
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
        found
    }

    /// Ends it at once, as a loss of power does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

fn frr(setup: &Setup) -> String {
    let mut text = format!(
        "log stdout informational\nrouter bgp {}\n bgp router-id 10.9.0.1\n no bgp ebgp-requires-policy\n \
         bgp log-neighbor-changes\n no bgp network import-check\n bgp bestpath as-path multipath-relax\n \
         bgp graceful-restart stalepath-time 30\n",
        setup.asn
    );
    for peer in &setup.peers {
        let (address, interface) = match peer.address.split_once('%') {
            Some((address, interface)) => (address, Some(interface)),
            None => (peer.address.as_str(), None),
        };
        let mut line = |rest: &str| writeln!(text, " neighbor {address} {rest}").unwrap();
        if address.starts_with("eth") {
            line("interface remote-as external");
        } else {
            line(&format!("remote-as {}", peer.asn));
            line("passive");
        }
        line("timers 3 9");
        if peer.without_capabilities {
            line("dont-capability-negotiate");
        } else {
            line("capability extended-nexthop");
        }
        if let Some(interface) = interface {
            line(&format!("interface {interface}"));
        }
        if let Some(password) = &peer.password {
            line(&format!("password {password}"));
        }
        if peer.multihop {
            line("ebgp-multihop 8");
            line(&format!("update-source {}", peer.local));
        }
        if peer.ttl_security {
            line("ttl-security hops 1");
        }
        if peer.graceful_restart {
            line("graceful-restart");
        }
        if peer.bfd.is_some() {
            line("bfd profile lab");
        }
    }
    for (family, route) in [("ipv4", "198.51.100.0/24"), ("ipv6", "2001:db8:5::/64")] {
        writeln!(text, " address-family {family} unicast\n  maximum-paths 16").unwrap();
        for peer in &setup.peers {
            let address = peer.address.split('%').next().unwrap();
            writeln!(text, "  neighbor {address} activate").unwrap();
            if peer.announces {
                writeln!(text, "  network {route}").unwrap();
            }
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

fn bfdd(setup: &Setup) -> String {
    let interval = setup.peers.iter().find_map(|peer| peer.bfd).unwrap_or(300);
    format!(
        "log stdout\nbfd\n profile lab\n  detect-multiplier 3\n  receive-interval {interval}\n  \
         transmit-interval {interval}\n"
    )
}

fn bird(setup: &Setup) -> String {
    let mut text = String::from(
        "router id 10.9.0.1;\nprotocol device { scan time 1; }\n\
         protocol kernel k4 { learn; ipv4 { export all; }; merge paths on limit 16; }\n\
         protocol kernel k6 { ipv6 { export all; }; merge paths on limit 16; }\n\
         protocol static s4 { ipv4; route 198.51.100.0/24 unreachable; }\n\
         protocol static s6 { ipv6; route 2001:db8:5::/64 unreachable; }\n",
    );
    if let Some(interval) = setup.peers.iter().find_map(|peer| peer.bfd) {
        writeln!(
            text,
            "protocol bfd {{ interface \"eth*\" {{ interval {interval} ms; multiplier 3; }}; \
             multihop {{ interval {interval} ms; multiplier 3; }}; }}"
        )
        .unwrap();
    }
    for (number, peer) in setup.peers.iter().enumerate() {
        let export = if peer.announces { "where source = RTS_STATIC" } else { "none" };
        let mut options = String::new();
        if let Some(password) = &peer.password {
            write!(options, "password \"{password}\"; ").unwrap();
        }
        options.push_str(if peer.multihop { "multihop 8; " } else { "direct; " });
        if peer.ttl_security {
            options.push_str("ttl security on; ");
        }
        if peer.bfd.is_some() {
            options.push_str("bfd on; ");
        }
        let aware = if peer.graceful_restart { "on" } else { "off" };
        writeln!(
            text,
            "protocol bgp peer{number} {{ local {} as {}; neighbor {} as {}; passive yes; \
             hold time 9; error wait time 1, 2; graceful restart {aware}; {options}\n\
             ipv4 {{ import all; export {export}; extended next hop on; }};\n\
             ipv6 {{ import all; export {export}; }}; }}",
            peer.local, setup.asn, peer.address, peer.asn
        )
        .unwrap();
    }
    text
}
