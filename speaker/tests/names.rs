//! Names of backends, asked for at a real name server (dnsmasq), and at one that fails.
//!
//! Everything is on 127.0.0.0/8; each test has servers of its own, so they run side by side.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_lab::patience;
use vipgate_planner::{Answer, Names};
use vipgate_speaker::names::{MOST_ADDRESSES, Resolver, Servers};

/// Longest wait for something that is to happen: several pauses after failures fit in.
const SOON: Duration = Duration::from_secs(30);
/// A query for the root's name servers: any answer shows that somebody is there.
const QUERY: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// An address for a server of this process and test.
fn at(test: u8, port: u16) -> SocketAddr {
    let id = std::process::id();
    let address = IpAddr::from([127, 60 + (id % 64) as u8, (id / 64 % 256) as u8, test]);
    SocketAddr::new(address, port)
}

/// dnsmasq, until it is dropped.
struct Server(Child);

impl Server {
    /// It knows these records, and nobody else knows more of `test.`; it answers when this returns.
    fn start(at: SocketAddr, records: &[String]) -> Self {
        let process = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--pid-file=", "--user=root", "--bind-interfaces", "--local=/test/"])
            .arg(format!("--port={}", at.port()))
            .arg(format!("--listen-address={}", at.ip()))
            .args(records)
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq is installed");
        let server = Self(process);
        let socket = UdpSocket::bind((at.ip(), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let end = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < end, "dnsmasq on {at} does not answer");
            let _ = socket.send_to(&QUERY, at);
            match socket.recv(&mut [0; 512]) {
                Ok(_) => return server,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name server that answers everything with this code (RFC 1035, 4.1.1), or not at all, until it is
/// dropped.
struct Failing(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Failing {
    fn start(at: SocketAddr, code: Option<u8>) -> Self {
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut query = [0; 512];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(code) = code {
                    query[2] |= 0x80;
                    query[3] = 0x80 | code;
                    let _ = socket.send_to(&query[..length], from);
                }
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        if let Some(thread) = self.1.take() {
            thread.join().unwrap();
        }
    }
}

/// A resolver that is asked for one name.
struct Asked {
    name: &'static str,
    answers: watch::Receiver<Names>,
    resolver: Resolver,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Asked {
    fn for_name(name: &'static str, servers: Servers) -> Self {
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let resolver = Resolver::start(servers, &tracker, stop.clone());
        resolver.want([name.to_owned()].into());
        Self { name, answers: resolver.answers(), resolver, stop, tracker }
    }

    /// Waits for an answer.
    async fn until(&mut self, what: &str, so: impl Fn(&Answer) -> bool) -> Answer {
        let name = self.name;
        let waiting = self.answers.wait_for(|names| names.get(name).is_some_and(&so));
        let names = timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
        names.unwrap()[name].clone()
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        timeout(SOON, self.tracker.wait()).await.expect("it ends when it is told to");
    }
}

fn record(name: &str, addresses: &str, ttl: u32) -> String {
    format!("--host-record={name},{addresses},{ttl}")
}

fn is(answer: &Answer, addresses: &[&str]) -> bool {
    let texts = answer.addresses.iter().map(ToString::to_string);
    texts.eq(addresses.iter().copied())
}

#[tokio::test]
async fn both_families_are_asked_for_and_again_when_the_ttl_is_over() {
    let at = at(1, 5301);
    let alias = || "--cname=alias.test,db.test".to_owned();
    let server = Server::start(at, &[record("db.test", "10.1.0.1,fd00::1", 2), alias()]);
    let mut asked = Asked::for_name("alias.test", Servers::At(at));
    asked.until("it has both", |a| is(a, &["10.1.0.1", "fd00::1"]) && a.error.is_none()).await;
    drop(server);
    let _server = Server::start(at, &[record("db.test", "10.1.0.2", 2), alias()]);
    let moved = Instant::now();
    asked.until("it moved, and has one family", |a| is(a, &["10.1.0.2"])).await;
    let took = moved.elapsed();
    assert!(took <= patience(Duration::from_secs(3)), "{took:?}");
    // What nobody wants is not known any more.
    asked.resolver.want([].into());
    timeout(SOON, asked.answers.wait_for(Names::is_empty)).await.unwrap().unwrap();
    asked.end().await;
}

#[tokio::test]
async fn the_last_good_answer_is_kept_whatever_happens_until_the_next_good_one() {
    let at = at(2, 5302);
    let good = || Server::start(at, &[record("db.test", "10.1.0.1", 1)]);
    let server = good();
    let mut asked = Asked::for_name("db.test", Servers::At(at));
    asked.until("it resolves", |a| is(a, &["10.1.0.1"])).await;
    drop(server);
    // Nobody is there.
    asked.until("a failure", |a| a.error.is_some()).await;
    for (code, word) in [
        (Some(2), "SERVFAIL"),
        (Some(5), "REFUSED"),
        (Some(3), "NXDOMAIN"),
        (None, "no DNS server answers in time"),
    ] {
        let failing = Failing::start(at, code);
        let said = |a: &Answer| a.error.as_ref().is_some_and(|error| error.contains(word));
        let answer = asked.until(word, said).await;
        assert!(is(&answer, &["10.1.0.1"]), "{answer:?}");
        drop(failing);
        let server = good();
        asked.until("it is good again", |a| a.error.is_none()).await;
        drop(server);
    }
    let _server = Server::start(at, &[record("db.test", "10.1.0.2", 1)]);
    asked.until("it moved meanwhile", |a| is(a, &["10.1.0.2"]) && a.error.is_none()).await;
    asked.end().await;
}

#[tokio::test]
async fn a_name_that_is_not_there_or_has_no_address_says_so() {
    let at = at(3, 5303);
    let _server = Server::start(at, &["--txt-record=text.test,hello".to_owned()]);
    for (name, word) in [("nobody.test", "NXDOMAIN"), ("text.test", "neither A nor AAAA records")] {
        let mut asked = Asked::for_name(name, Servers::At(at));
        let answer = asked.until(word, |a| a.error.is_some()).await;
        assert!(answer.error.as_ref().unwrap().contains(word) && is(&answer, &[]), "{answer:?}");
        asked.end().await;
    }
}

/// Too many for a datagram: the server is asked by TCP.
#[tokio::test]
async fn a_long_answer_comes_by_tcp_and_is_cut() {
    let at = at(4, 5304);
    let records: Vec<String> =
        (1..=100).map(|n| record("many.test", &format!("10.3.0.{n}"), 60)).collect();
    let _server = Server::start(at, &records);
    let mut asked = Asked::for_name("many.test", Servers::At(at));
    let answer = asked.until("it resolves", |a| !a.addresses.is_empty()).await;
    assert_eq!(answer.addresses.len(), MOST_ADDRESSES);
    assert_eq!(answer.addresses.first(), "10.3.0.1".parse().ok().as_ref());
    asked.end().await;
}

#[tokio::test]
async fn resolv_conf_is_read_again_when_it_changes() {
    let (one, two) = (at(5, 53), at(6, 53));
    let _one = Server::start(one, &[record("db.test", "10.1.0.1", 1)]);
    let _two = Server::start(two, &[record("db.test", "10.1.0.2", 1)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    let write = |text: &str| {
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let mut asked = Asked::for_name("db.test", Servers::File(path.clone()));
    let answer = asked.until("there is no file", |a| a.error.is_some()).await;
    let error = answer.error.unwrap();
    assert!(error.contains("resolv.conf: No such file") && error.contains("--resolver"), "{error}");
    // The name is asked for as it stands there, whatever is searched in.
    write(&format!("search example.test\noptions ndots:5\nnameserver {}\n", one.ip()));
    asked.until("by the first server", |a| is(a, &["10.1.0.1"]) && a.error.is_none()).await;
    write(&format!("nameserver {}\n", two.ip()));
    asked.until("by the second", |a| is(a, &["10.1.0.2"])).await;
    // What cannot be read changes nothing.
    write("nonsense\n");
    tokio::time::sleep(Duration::from_secs(2)).await;
    asked.until("as before", |a| is(a, &["10.1.0.2"]) && a.error.is_none()).await;
    asked.end().await;
}
