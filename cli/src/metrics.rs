//! What a process tells by HTTP, on loopback unless asked otherwise: `/metrics` in the text format of
//! Prometheus; `/healthz`, answered by whoever lives; `/readyz`, which names what is awaited (503) until
//! there is nothing.
//!
//! Serving hangs on nothing here: an address that is in use is a warning, and questions beyond a few at
//! once wait.

mod connections;
mod controller;
mod datagrams;
mod failovers;
mod reach;
#[cfg(test)]
mod reference;
mod text;
mod vips;

use std::fmt::{self, Write};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_controller::facts::Facts;
use vipgate_speaker::bgp::peers::{Board, Counters, Known};
use vipgate_speaker::node::Speaker;

/// Longest question.
const QUESTION: usize = 4096;
/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions answered at once.
const AT_ONCE: usize = 16;

/// Where counters are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Place {
    pub(crate) const DEFAULT: Self = Self::on_loopback(7473);
    /// Of a controller, which may run beside a speaker.
    pub(crate) const OF_CONTROLLER: Self = Self::on_loopback(7474);

    const fn on_loopback(port: u16) -> Self {
        Self::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        // Whoever puts both together does not always know of which family the address is.
        let apart = || -> Option<SocketAddr> {
            let (address, port) = text.split_once(' ')?;
            Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
        };
        text.parse().ok().or_else(apart).map(Self::At).ok_or(
            "write an IP address and a port, such as 127.0.0.1:7473, [::1]:7473 or \"::1 7473\", or off",
        )
    }
}

/// What is told.
pub(crate) struct Told {
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    awaited: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

/// What a node tells.
pub(crate) fn of_speaker(speaker: Arc<Speaker>, awaited: watch::Receiver<Vec<String>>) -> Told {
    let reports = speaker.reports();
    let metrics = move || {
        vips::render(&reports.borrow(), speaker.standing().as_deref(), &speaker.rival_claims())
            + &failovers::render(&speaker.failovers())
            + &reach::render(&speaker.reached())
            + &render(&speaker.routers().borrow())
            + &connections::render(&speaker.proxy().snapshot())
            + &datagrams::render(&speaker.udp().snapshot())
    };
    Told { metrics: Box::new(metrics), awaited: Box::new(move || awaited.borrow().clone()) }
}

/// What a controller tells.
pub(crate) fn of_controller(facts: watch::Receiver<Facts>, leading: watch::Receiver<bool>) -> Told {
    let of_metrics = facts.clone();
    let metrics = move || controller::render(&of_metrics.borrow(), *leading.borrow());
    let awaited = move || facts.borrow().awaited.clone();
    Told { metrics: Box::new(metrics), awaited: Box::new(awaited) }
}

/// Answers until `stopped`, on tasks of `tracker`.
pub(crate) async fn serve(
    place: Place,
    told: Told,
    tracker: &TaskTracker,
    stopped: CancellationToken,
) {
    let Place::At(address) = place else { return };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("no metrics on {address}: {error}; give another address with --metrics");
            return;
        }
    };
    let (connections, told) = (tracker.clone(), Arc::new(told));
    tracker.spawn(async move {
        tokio::select! {
            () = accept(listener, told, connections, stopped.clone()) => {}
            () = stopped.cancelled() => {}
        }
    });
}

async fn accept(
    listener: TcpListener,
    told: Arc<Told>,
    connections: TaskTracker,
    stopped: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: asking again at once would only spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (told, stopped) = (Arc::clone(&told), stopped.clone());
        connections.spawn(async move {
            let _slot = slot;
            let answered = timeout(PATIENCE, answer(stream, &told));
            match tokio::select! {
                answered = answered => answered,
                () = stopped.cancelled() => return,
            } {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a question for metrics failed"),
                Err(_) => tracing::debug!("a question for metrics took too long"),
            }
        });
    }
}

async fn answer(mut stream: TcpStream, told: &Told) -> io::Result<()> {
    let mut question = Vec::new();
    let mut chunk = [0; 1024];
    while !question.ends_with(b"\r\n\r\n") && question.len() < QUESTION {
        match stream.read(&mut chunk).await? {
            0 => break,
            count => question.extend(&chunk[..count]),
        }
    }
    let reply = reply(&question, told);
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

/// The answer to a request, or what to ask for instead.
fn reply(question: &[u8], told: &Told) -> String {
    let line = question.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next());
    let path = target.and_then(|target| target.split(|byte| *byte == b'?').next());
    let (status, body) = match (method, path) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", (told.metrics)()),
        (Some(b"GET"), Some(b"/healthz")) => ("200 OK", "alive\n".to_owned()),
        (Some(b"GET"), Some(b"/readyz")) => readiness(&(told.awaited)()),
        (Some(b"GET"), Some(_)) => {
            ("404 Not Found", "ask for /metrics, /healthz or /readyz\n".to_owned())
        }
        (Some(_), Some(_)) => ("405 Method Not Allowed", "GET /metrics\n".to_owned()),
        _ => ("400 Bad Request", "GET /metrics\n".to_owned()),
    };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn readiness(awaited: &[String]) -> (&'static str, String) {
    match awaited {
        [] => ("200 OK", "ready\n".to_owned()),
        some => ("503 Service Unavailable", format!("waits for {}\n", some.join(", "))),
    }
}

/// The label of all that is told of a session: its BGPPeer.
const PEER: &str = "peer";

/// A metric: name, type, what it says, and its value for a session; none where it has none.
type Metric = (&'static str, &'static str, &'static str, fn(&Known, &Counters) -> Option<u64>);

const METRICS: [Metric; 8] = [
    (
        "vipgate_bgp_session_up",
        "gauge",
        "Whether the BGP session is established.",
        |_, counters| Some(counters.up.into()),
    ),
    ("vipgate_bgp_prefixes", "gauge", "Prefixes the router was told.", |_, counters| {
        Some(counters.prefixes)
    }),
    (
        "vipgate_bgp_prefixes_refused",
        "gauge",
        "Prefixes that the router is not told, because their communities fit no message.",
        |_, counters| Some(counters.refused),
    ),
    (
        "vipgate_bgp_established_total",
        "counter",
        "How often the session was established.",
        |_, counters| Some(counters.established),
    ),
    (
        "vipgate_bgp_updates_received_total",
        "counter",
        "UPDATEs of the router; none is used.",
        |_, counters| Some(counters.updates_received),
    ),
    (
        "vipgate_bgp_defects_total",
        "counter",
        "UPDATEs of the router with a defect (RFC 7606).",
        |_, counters| Some(counters.defects),
    ),
    ("vipgate_bfd_ups_total", "counter", "How often BFD came up.", |known, counters| {
        known.report.bfd.is_some().then_some(counters.bfd_ups)
    }),
    ("vipgate_bfd_downs_total", "counter", "How often BFD went down.", |known, counters| {
        known.report.bfd.is_some().then_some(counters.bfd_downs)
    }),
];

fn render(board: &Board) -> String {
    let sessions: Vec<_> = board
        .iter()
        .map(|(peer, known)| (escaped(&peer.to_string()), known, known.counters()))
        .collect();
    let mut out = String::new();
    for (name, kind, help, value) in METRICS {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (peer, known, counters) in &sessions {
            if let Some(value) = value(known, counters) {
                let _ = writeln!(out, "{name}{{{PEER}=\"{peer}\"}} {value}");
            }
        }
    }
    out
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_off() {
        assert_eq!(Place::DEFAULT.to_string().parse(), Ok(Place::DEFAULT));
        assert_eq!("off".parse(), Ok(Place::Off));
        assert!("7473".parse::<Place>().is_err());
        assert_eq!("::1 7473".parse::<Place>(), "[::1]:7473".parse());
        assert_eq!("127.0.0.1 7473".parse(), Ok(Place::DEFAULT));
        assert!("127.0.0.1 http".parse::<Place>().is_err());
    }

    fn told(awaited: &'static [&'static str]) -> Told {
        Told {
            metrics: Box::new(|| "vipgate_x 1\n".to_owned()),
            awaited: Box::new(|| awaited.iter().map(|one| (*one).to_owned()).collect()),
        }
    }

    #[test]
    fn who_lives_is_healthy_and_ready_once_nothing_is_awaited() {
        let ask = |path: &str, told: &Told| {
            reply(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes(), told)
        };
        assert!(ask("/healthz", &told(&["a"])).starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(ask("/readyz", &told(&[])).starts_with("HTTP/1.1 200 OK\r\n"));
        let waits = ask("/readyz", &told(&["Gateways", "a plan"]));
        assert!(waits.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{waits}");
        assert!(waits.ends_with("\r\n\r\nwaits for Gateways, a plan\n"), "{waits}");
    }

    #[test]
    fn what_is_no_question_for_metrics_is_told_what_is() {
        let ask = |question: &str| reply(question.as_bytes(), &told(&[]));
        let good = ask("GET /metrics?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.contains("Content-Length: 12\r\n") && good.ends_with("\r\n\r\nvipgate_x 1\n"));
        for (question, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("", "400"),
            ("\0\u{1}", "400"),
        ] {
            let answer = ask(question);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{question:?}: {answer}");
            assert!(!answer.contains("vipgate_x"), "{answer}");
        }
    }

    #[test]
    fn without_sessions_there_are_names_and_no_values() {
        let text = render(&Board::new());
        assert!(text.contains("# TYPE vipgate_bgp_session_up gauge\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        assert_eq!(escaped("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }
}
