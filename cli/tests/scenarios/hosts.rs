//! Several hosts that share the VIPs, a client that connects all the time, and the wire between them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use vipgate_lab::servers::Echo;
use vipgate_lab::{
    Bridge, Capture, Frame, Lab, Link, Mac, Node, Process, Program, eventually, servers,
};

use crate::site::{SOON, VIP, VIP6, VIPGATE, backend, gateway, pool, route};

/// How long two members may claim one VIP on the wire.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// A host of the group.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) link: Link,
    process: Option<Process>,
    state: PathBuf,
    admin: PathBuf,
    manifests: PathBuf,
}

/// Hosts, a client and a server on one bridge.
pub(crate) struct Hosts {
    pub(crate) hosts: Vec<Host>,
    pub(crate) client: Arc<Node>,
    on_client: Link,
    _servers: (Node, Link),
    _echo: Echo,
    /// Whether hosts are not told of each other.
    pub(crate) beacons: bool,
    /// The network on which the group talks, if that is not the one of the VIPs.
    management: Option<(Bridge, Vec<Link>)>,
    pub(crate) lan: Bridge,
    pub(crate) lab: Lab,
    scratch: TempDir,
}

fn address(number: usize) -> String {
    format!("10.77.0.{}", number + 1)
}

fn management_address(number: usize) -> String {
    format!("10.78.0.{}", number + 1)
}

impl Hosts {
    /// `count` hosts with a key and the same manifests: `vips` Gateways, one behind the other from
    /// [`VIP`] on.
    pub(crate) fn new(name: &str, count: usize, vips: u16) -> Self {
        let lab = Lab::new(name).unwrap();
        let lan = lab.bridge("lan").unwrap();
        let (client, machine) = (lab.node("client").unwrap(), lab.node("servers").unwrap());
        let on_client = client.join(&lan, "10.77.0.100/16").unwrap();
        let on_servers = machine.join(&lan, "10.77.0.101/16").unwrap();
        let echo = servers::echo(&machine, "10.77.0.101:80".parse().unwrap(), "hello").unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let key = scratch.path().join("key");
        let output = std::process::Command::new(VIPGATE).arg("keygen").output().unwrap();
        fs::write(&key, output.stdout).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let hosts = (0..count)
            .map(|number| {
                let node = lab.node(&format!("host{}", number + 1)).unwrap();
                let link = node.join(&lan, &format!("{}/16", address(number))).unwrap();
                let directory = scratch.path().join(format!("host{}", number + 1));
                let manifests = directory.join("manifests");
                fs::create_dir_all(&manifests).unwrap();
                let (state, admin) = (directory.join("state.json"), directory.join("admin.sock"));
                Host { node, link, process: None, state, admin, manifests }
            })
            .collect();
        let hosts = Self {
            hosts,
            client: Arc::new(client),
            on_client,
            _servers: (machine, on_servers),
            _echo: echo,
            beacons: false,
            management: None,
            lan,
            lab,
            scratch,
        };
        let last =
            Ipv4Addr::from(u32::from(VIP.parse::<Ipv4Addr>().unwrap()) + u32::from(vips) - 1);
        hosts.write("pool.yaml", &pool(&format!("{VIP}-{last}")));
        hosts.write("backend.yaml", &backend("web", &["10.77.0.101:80"]));
        for number in 0..vips {
            let name = format!("web{number}");
            hosts.write(&format!("gateway{number}.yaml"), &gateway(&name, &[("tcp", 80)]));
            hosts.write(&format!("route{number}.yaml"), &route(&name, &name, "tcp", "web"));
        }
        hosts
    }

    /// A directory that goes with the hosts.
    pub(crate) fn scratch(&self) -> &std::path::Path {
        self.scratch.path()
    }

    /// Gives every host a second link, over which the group talks from its next start on.
    pub(crate) fn manage(&mut self) {
        let bridge = self.lab.bridge("mgmt").unwrap();
        let join = |(number, host): (usize, &Host)| {
            host.node.join(&bridge, &format!("{}/24", management_address(number))).unwrap()
        };
        let links = self.hosts.iter().enumerate().map(join).collect();
        self.management = Some((bridge, links));
    }

    /// Gives all machines IPv6 addresses beside the others, and the pool those from [`VIP6`] on.
    pub(crate) fn with_ipv6(self) -> Self {
        let numbered = |number: usize| format!("fd77::{number}/64");
        for (number, host) in self.hosts.iter().enumerate() {
            host.link.add_address(&numbered(number + 1)).unwrap();
        }
        self.on_client.add_address(&numbered(100)).unwrap();
        self._servers.1.add_address(&numbered(101)).unwrap();
        self.write("pool.yaml", &pool(&format!("{VIP}/32, '{VIP6}/128'")));
        self
    }

    /// Keeps the group's datagrams, and nothing else, from reaching the hosts; or lets them through again.
    pub(crate) fn block_datagrams(&self, blocked: bool) {
        for host in &self.hosts {
            let rules = "table inet cut {\nchain in {\ntype filter hook input priority 0\n\
                         udp dport 7947 drop\n}\n}";
            let arguments = if blocked { rules } else { "delete table inet cut" };
            host.node.run("nft", [arguments]).unwrap();
        }
    }

    /// Who claimed an address on the wire, and when.
    pub(crate) fn claims(&self, frames: &[Frame], address: IpAddr) -> Vec<(Duration, Mac)> {
        let claims = frames.iter().filter_map(|frame| {
            let arp = || frame.arp().filter(|arp| IpAddr::V4(arp.sender_ip) == address);
            let ndp = || frame.advertised().filter(|said| IpAddr::V6(said.target) == address);
            let mac = arp().map(|arp| arp.sender_mac).or_else(|| ndp().map(|said| said.eth_src))?;
            Some((frame.at, mac))
        });
        let hosts: Vec<Mac> = self.hosts.iter().map(|host| host.link.mac()).collect();
        claims.filter(|(_, mac)| hosts.contains(mac)).collect()
    }

    /// The Ethernet address that the client has for an address.
    pub(crate) fn neighbour(&self, address: &str) -> String {
        self.client.run("ip", ["neigh", "show", address]).unwrap()
    }

    /// Gives an address to the servers' machine; its MAC.
    pub(crate) fn stranger(&self, address: &str) -> Mac {
        let link = &self._servers.1;
        link.add_address(&format!("{address}/16")).unwrap();
        link.mac()
    }

    /// Writes a manifest for all hosts.
    pub(crate) fn write(&self, file: &str, text: &str) {
        for host in &self.hosts {
            let new = host.manifests.with_file_name("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, host.manifests.join(file)).unwrap();
        }
    }

    /// Starts vipgate on a host.
    pub(crate) fn start(&mut self, number: usize) {
        self.start_with(number, &[]);
    }

    /// The same, with more arguments.
    pub(crate) fn start_with(&mut self, number: usize, arguments: &[&str]) {
        let key = self.scratch.path().join("key");
        let place = if self.management.is_some() { management_address } else { address };
        let peers: Vec<String> = (0..self.hosts.len()).map(place).collect();
        let host = &mut self.hosts[number];
        let mut program = Program::new(VIPGATE).args(["run", "--node"]).arg(host.node.name());
        program = program.arg("--state").arg(&host.state).arg("--admin").arg(&host.admin);
        program = program.arg("--group-key").arg(&key).args(["--drain-timeout", "1"]);
        match self.beacons {
            true => program = program.args(["--group-address", &peers[number]]),
            false => {
                for peer in &peers {
                    program = program.args(["--peer", peer]);
                }
            }
        }
        program = program.args(arguments);
        host.process = Some(host.node.spawn(program.arg(&host.manifests)).unwrap());
    }

    /// Starts all, and waits until each VIP is announced by one of them and all agree on that.
    pub(crate) fn start_all(&mut self) {
        for number in 0..self.hosts.len() {
            self.start(number);
        }
        self.settled_within(SOON * 3);
    }

    /// Waits until all running hosts are without problems and name the same owners.
    pub(crate) fn settled(&self) -> BTreeMap<String, String> {
        self.settled_within(SOON)
    }

    /// The same, where it may take this long.
    pub(crate) fn settled_within(&self, time: Duration) -> BTreeMap<String, String> {
        eventually(time, || {
            let mut owners: Vec<BTreeMap<String, String>> = Vec::new();
            for host in self.hosts.iter().filter(|host| host.runs()) {
                let report = host.report()?;
                anyhow::ensure!(report["problems"] == Value::Array(vec![]), "{report}");
                let vips = report["vips"].as_array().cloned().unwrap_or_default();
                anyhow::ensure!(!vips.is_empty(), "no VIP yet");
                let owner = |vip: &Value| {
                    let state = vip["state"].as_str().unwrap_or_default();
                    let owner = match state.strip_prefix("announced by ") {
                        Some(owner) => owner.to_owned(),
                        None if state.starts_with("announced on") => host.node.name().to_owned(),
                        None => anyhow::bail!("{} is {state}", vip["address"]),
                    };
                    Ok((vip["address"].as_str().unwrap_or_default().to_owned(), owner))
                };
                owners.push(vips.iter().map(owner).collect::<anyhow::Result<_>>()?);
            }
            anyhow::ensure!(owners.windows(2).all(|two| two[0] == two[1]), "{owners:?}");
            owners.pop().ok_or_else(|| anyhow::anyhow!("no host runs"))
        })
        .expect("the hosts agree")
    }

    /// The host that has a VIP.
    pub(crate) fn owner(&self, vip: &str) -> usize {
        let name = &self.settled()[vip];
        self.hosts.iter().position(|host| host.node.name() == name).expect("one of the hosts")
    }

    /// Ends vipgate on a host as a crash does.
    pub(crate) fn kill(&mut self, number: usize) {
        self.hosts[number].process.take().expect("it runs").kill();
    }

    /// Ends vipgate on a host in order.
    pub(crate) fn terminate(&mut self, number: usize) {
        let mut process = self.hosts[number].process.take().expect("it runs");
        process.terminate(SOON).expect("it ends");
    }

    /// Whether a VIP serves the client now.
    pub(crate) fn is_served(&self, vip: &str) -> bool {
        let to: SocketAddr = format!("{vip}:80").parse().unwrap();
        self.client.enter(|| greeting(to)) == Outcome::Good
    }

    /// A server of datagrams beside that of connections, for as long as what it returns lives.
    pub(crate) fn datagrams(&self) -> servers::Datagrams {
        servers::datagrams(&self._servers.0, "10.77.0.101:80".parse().unwrap(), "hello").unwrap()
    }

    /// Begins to connect to a VIP all the time.
    pub(crate) fn probe(&self, vip: &str) -> Prober {
        let to = SocketAddr::new(vip.parse().unwrap(), 80);
        let stopping = Arc::new(AtomicBool::new(false));
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let (stop, made) = (Arc::clone(&stopping), Arc::clone(&attempts));
        let client = Arc::clone(&self.client);
        let thread = std::thread::spawn(move || client.enter(|| probe(to, &stop, &made)));
        Prober { stopping, attempts, thread }
    }

    /// Everything that is said by ARP and NDP from now on, as the client hears it.
    pub(crate) fn listen(&self) -> Capture {
        self.client.capture("eth0", "arp or icmp6").unwrap()
    }

    /// Asserts that no VIP was claimed by more hosts, one after the other, than `owners`; the last
    /// words of a former one within [`GRACE`] do not count.
    pub(crate) fn assert_owners(&self, frames: &[Frame], owners: usize) {
        let hosts: Vec<Mac> = self.hosts.iter().map(|host| host.link.mac()).collect();
        let first: Ipv4Addr = VIP.parse().unwrap();
        let mut claims: BTreeMap<Ipv4Addr, Vec<(Duration, Mac)>> = BTreeMap::new();
        for (frame, arp) in frames.iter().filter_map(|frame| Some((frame, frame.arp()?))) {
            if hosts.contains(&arp.sender_mac) && arp.sender_ip >= first {
                claims.entry(arp.sender_ip).or_default().push((frame.at, arp.sender_mac));
            }
        }
        for (vip, claims) in claims {
            let mut turns: Vec<(Duration, Mac)> = Vec::new();
            for (at, mac) in &claims {
                let last_words = |[.., former, present]: &[(Duration, Mac); 2]| {
                    former.1 == *mac && *at <= present.0 + GRACE
                };
                let same = turns.last().is_some_and(|(_, owner)| owner == mac);
                if !same && !turns.last_chunk().is_some_and(last_words) {
                    turns.push((*at, *mac));
                }
            }
            assert!(turns.len() <= owners, "{vip} went from one to another: {turns:?}");
        }
    }

    /// Takes the carrier of a host's link away and gives it back, so many times.
    pub(crate) fn flap(&self, number: usize, times: usize, down: Duration, up: Duration) {
        let link = &self.hosts[number].link;
        for _ in 0..times {
            link.cut().unwrap();
            std::thread::sleep(down);
            link.restore().unwrap();
            std::thread::sleep(up);
        }
    }
}

impl Host {
    pub(crate) fn runs(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.has_ended())
    }

    pub(crate) fn report(&self) -> anyhow::Result<Value> {
        let program =
            Program::new(VIPGATE).args(["status", "-o", "report", "--admin"]).arg(&self.admin);
        Ok(serde_json::from_str(&self.node.run_within(SOON, program)?)?)
    }

    /// What a command prints that asks the process of this host.
    pub(crate) fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let program = Program::new(VIPGATE).args(arguments).arg("--admin").arg(&self.admin);
        self.node.run_within(SOON, program)
    }

    /// What `vipgate why` says, whether or not a link is broken.
    pub(crate) fn why(&self, of: &str) -> anyhow::Result<String> {
        let program = Program::new(VIPGATE).args(["why", of, "--admin"]).arg(&self.admin);
        let mut process = self.node.spawn(program)?;
        process.wait(SOON)?;
        Ok(process.output().stdout_text())
    }

    /// What the process of this host answers at `/metrics`.
    pub(crate) fn metrics(&self) -> anyhow::Result<String> {
        told(&self.node, "/metrics")
    }

    /// A number that it shows, by its name with its labels.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let text = self.metrics()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map(str::parse).transpose()?)
    }

    /// Whether a VIP is an address of the host.
    pub(crate) fn has(&self, vip: &str) -> bool {
        let addresses = self.node.run("ip", ["-o", "addr", "show", "dev", "lo"]).unwrap();
        addresses.contains(&format!(" {vip}/"))
    }

    pub(crate) fn output(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }
}

/// What a process on a node answers where it tells how it is, without the head.
pub(crate) fn told(node: &Node, path: &str) -> anyhow::Result<String> {
    let answer = asked(node, "127.0.0.1:7473", path)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// What a process on a node answers by HTTP.
pub(crate) fn asked(node: &Node, at: &str, path: &str) -> anyhow::Result<String> {
    let at: SocketAddr = at.parse()?;
    let mut stream = node.enter(|| TcpStream::connect_timeout(&at, SOON))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A client that connects every few milliseconds.
pub(crate) struct Prober {
    stopping: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    thread: JoinHandle<()>,
}

/// One try to get a greeting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// Nobody answered.
    Silence,
    /// Somebody said no.
    Refused,
}

impl Prober {
    /// Whether a try that ended half a second or more after that moment was good.
    pub(crate) fn good_since(&self, moment: Instant) -> bool {
        let attempts = self.attempts.lock().unwrap();
        let last = attempts.last();
        last.is_some_and(|last| {
            last.outcome == Outcome::Good && last.ended > moment + Duration::from_millis(500)
        })
    }

    /// Ends it. The longest time from the end of a good try to the end of the next.
    pub(crate) fn stop(self) -> (Duration, Vec<Attempt>) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic");
        let attempts = std::mem::take(&mut *self.attempts.lock().unwrap());
        let good: Vec<&Attempt> =
            attempts.iter().filter(|attempt| attempt.outcome == Outcome::Good).collect();
        let gaps = good.windows(2).map(|two| two[1].ended - two[0].ended);
        (gaps.max().expect("two good tries"), attempts)
    }
}

fn probe(to: SocketAddr, stop: &AtomicBool, attempts: &Mutex<Vec<Attempt>>) {
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let outcome = greeting(to);
        attempts.lock().unwrap().push(Attempt { ended: Instant::now(), outcome });
        std::thread::sleep(Duration::from_millis(5).saturating_sub(began.elapsed()));
    }
}

fn greeting(to: SocketAddr) -> Outcome {
    let try_it = || -> std::io::Result<bool> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_millis(20))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line == "hello\n")
    };
    match try_it() {
        Ok(true) => Outcome::Good,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
            ) =>
        {
            Outcome::Silence
        }
        Ok(false) | Err(_) => Outcome::Refused,
    }
}
