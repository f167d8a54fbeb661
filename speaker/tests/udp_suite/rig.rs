//! What the tests are built from: engines, listeners, servers, clients.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{
    BackendSettings, BackendShare, Endpoint, Listener, ListenerId, ListenerSettings, Service,
    Target,
};
use vipgate_speaker::access_log::{AccessLog, Log};
use vipgate_speaker::udp::{Config, DropReason, EndReason, ListenerCounters, Udp};

/// Longest wait for something that is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long something is looked for that is not to come.
pub(crate) const NEVER: Duration = Duration::from_millis(150);

/// An engine with two workers.
pub(crate) fn udp() -> Udp {
    udp_with(|_| {})
}

/// An engine with other settings.
pub(crate) fn udp_with(change: impl FnOnce(&mut Config)) -> Udp {
    let mut config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    change(&mut config);
    Udp::start(config, Log::start(&AccessLog::default()).unwrap()).unwrap()
}

/// An address and port for this process: the same suite may run twice on a machine, so both are
/// moved by the process id.
pub(crate) fn at(text: &str) -> SocketAddr {
    let (id, mut address) = (std::process::id(), text.parse::<SocketAddr>().unwrap());
    address.set_port(address.port() + 400 * (id / 20 % 60) as u16);
    if let IpAddr::V4(ip) = address.ip() {
        let [a, b, c, d] = ip.octets();
        let moved = b - 40 + 10 * (id % 20) as u8;
        address.set_ip([a, moved, c, d].into());
    }
    address
}

/// The key of a route.
pub(crate) fn route(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::UdpRoute, key: ObjectKey::new("default", name) }
}

/// A share of a target.
pub(crate) fn share(weight: u32, endpoints: &[SocketAddr]) -> BackendShare {
    BackendShare {
        backend: format!("Service default/s:{weight}"),
        weight,
        endpoints: endpoints.iter().copied().map(Endpoint).collect(),
        unusable: None,
        settings: Arc::default(),
        preserved: Default::default(),
    }
}

/// The same with what a policy says of it.
pub(crate) fn under(
    mut share: BackendShare,
    change: impl FnOnce(&mut BackendSettings),
) -> BackendShare {
    change(Arc::make_mut(&mut share.settings));
    share
}

/// A listener without a route.
pub(crate) fn bare(name: &str, bind: SocketAddr) -> Listener {
    Listener {
        id: ListenerId {
            gateway: ObjectKey::new("default", "gw"),
            set: None,
            name: name.to_owned(),
            address: bind.ip(),
        },
        bind,
        service: Service::Udp(None),
        attached: [].into(),
        settings: Arc::new(ListenerSettings::of_datagrams()),
    }
}

/// The same with what a policy says of it.
pub(crate) fn with_policy(
    mut listener: Listener,
    change: impl FnOnce(&mut ListenerSettings),
) -> Listener {
    change(Arc::make_mut(&mut listener.settings));
    listener
}

/// A listener whose only route is `r`.
pub(crate) fn listener(name: &str, bind: SocketAddr, shares: Vec<BackendShare>) -> Listener {
    let target = Target { route: route("r"), shares };
    Listener {
        service: Service::Udp(Some(Arc::new(target))),
        attached: [route("r")].into(),
        ..bare(name, bind)
    }
}

/// Applies listeners that are all to be bound.
pub(crate) fn apply(udp: &Udp, listeners: &[Listener]) {
    for (id, outcome) in udp.apply(listeners) {
        outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
}

/// The counters of the first listener.
pub(crate) fn counters(udp: &Udp) -> ListenerCounters {
    udp.snapshot().listeners.into_values().next().unwrap_or_default()
}

pub(crate) fn dropped(udp: &Udp, reason: DropReason) -> u64 {
    counters(udp).dropped.get(&reason).copied().unwrap_or_default()
}

pub(crate) fn ended(udp: &Udp, reason: EndReason) -> u64 {
    counters(udp).ended.get(&reason).copied().unwrap_or_default()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client with a port of its own. It hears only what comes from where it sends to.
pub(crate) fn client(to: SocketAddr) -> UdpSocket {
    let own: IpAddr = match to.ip() {
        IpAddr::V4(_) => [127, 0, 0, 1].into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    client_from(own, to)
}

/// The same with an address.
pub(crate) fn client_from(own: IpAddr, to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((own, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Room for bursts, with privilege beyond what is allowed to everybody.
pub(crate) fn big_buffer(socket: &UdpSocket) {
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, 8 << 20);
}

/// Sends a datagram and waits for the answer.
#[track_caller]
pub(crate) fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).unwrap();
    answer(client)
}

/// Waits for an answer.
#[track_caller]
pub(crate) fn answer(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let len = client.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

/// Asserts that nothing comes.
#[track_caller]
pub(crate) fn assert_silent(client: &UdpSocket) {
    client.set_read_timeout(Some(NEVER)).unwrap();
    match client.recv(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("expected nothing, got {other:?}"),
    }
    client.set_read_timeout(Some(SOON)).unwrap();
}

/// Who sent what, in order.
type Heard = Vec<(SocketAddr, Vec<u8>)>;

/// A server on an address of its own, on one thread; it serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    socket: Arc<UdpSocket>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server that answers each datagram with these.
    pub(crate) fn new(
        address: SocketAddr,
        answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = Arc::new(UdpSocket::bind(address).unwrap());
        big_buffer(&socket);
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (heard, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (own, all, stopped) = (socket.clone(), heard.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((len, peer)) = own.recv_from(&mut buffer) else { continue };
                all.lock().unwrap().push((peer, buffer[..len].to_vec()));
                for answer in answers(&buffer[..len]) {
                    own.send_to(&answer, peer).unwrap();
                }
            }
        });
        Self { address, heard, socket, stop, thread: Some(thread) }
    }

    /// Sends back what it gets.
    pub(crate) fn echo(address: SocketAddr) -> Self {
        Self::new(address, |datagram| vec![datagram.to_vec()])
    }

    /// Answers with its name.
    pub(crate) fn says(address: SocketAddr, name: &'static str) -> Self {
        Self::new(address, move |_| vec![name.as_bytes().to_vec()])
    }

    /// Answers nothing.
    pub(crate) fn mute(address: SocketAddr) -> Self {
        Self::new(address, |_| Vec::new())
    }

    /// Who sent what so far.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// Sends something by itself.
    pub(crate) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.socket.send_to(datagram, to).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The socket is closed when this returns.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
