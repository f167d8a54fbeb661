//! What the tests are built from: engines, listeners, backends, clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{
    BackendSettings, BackendShare, Endpoint, Listener, ListenerId, ListenerSettings, Service,
    Target,
};
use vipgate_speaker::access_log::{AccessLog, Log};
use vipgate_speaker::proxy::{Config, ListenerCounters, Proxy};

/// Longest wait for something that is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// An engine with two workers.
pub(crate) fn proxy() -> Proxy {
    proxy_with(|_| {})
}

/// An engine with other settings.
pub(crate) fn proxy_with(change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = Config { workers: 2.try_into().unwrap(), ..Config::default() };
    change(&mut config);
    Proxy::start(config, Log::start(&AccessLog::default()).unwrap()).unwrap()
}

/// An address and port for this process: the same suite may run twice on a machine, so both are
/// moved by the process id. The ports stay below the ephemeral ones, and 400 apart.
pub(crate) fn at(text: &str) -> SocketAddr {
    let (id, mut address) = (std::process::id(), text.parse::<SocketAddr>().unwrap());
    let port = 400 * (id / 20 % 60) as u16;
    address.set_port(address.port() + port);
    if let IpAddr::V4(ip) = address.ip()
        && ip.is_loopback()
    {
        let [a, b, c, d] = ip.octets();
        let moved = b - 30 + 10 * (id % 20) as u8;
        address.set_ip([a, moved, c, d].into());
    }
    address
}

/// The key of a route.
pub(crate) fn route(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::TcpRoute, key: ObjectKey::new("default", name) }
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

/// The same with settings that are not the default.
pub(crate) fn share_with(
    weight: u32,
    endpoints: &[SocketAddr],
    change: impl FnOnce(&mut BackendSettings),
) -> BackendShare {
    let mut settings = BackendSettings::default();
    change(&mut settings);
    BackendShare { settings: Arc::new(settings), ..share(weight, endpoints) }
}

/// A listener whose only route is `r`.
pub(crate) fn listener(name: &str, bind: SocketAddr, shares: Vec<BackendShare>) -> Listener {
    let target = Target { route: route("r"), shares };
    Listener {
        id: ListenerId {
            gateway: ObjectKey::new("default", "gw"),
            set: None,
            name: name.to_owned(),
            address: bind.ip(),
        },
        bind,
        service: Service::Tcp(Some(Arc::new(target))),
        attached: [route("r")].into(),
        settings: Arc::default(),
    }
}

/// The listener with other settings.
pub(crate) fn set(listener: Listener, change: impl FnOnce(&mut ListenerSettings)) -> Listener {
    let mut settings = (*listener.settings).clone();
    change(&mut settings);
    Listener { settings: Arc::new(settings), ..listener }
}

/// Connects from an address of the loopback.
pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// Applies listeners that are all to be bound.
pub(crate) fn apply(proxy: &Proxy, listeners: &[Listener]) {
    for (id, outcome) in proxy.apply(listeners) {
        outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
    }
}

/// The counters of the first listener.
pub(crate) fn counters(proxy: &Proxy) -> ListenerCounters {
    proxy.snapshot().listeners.into_values().next().unwrap_or_default()
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client that waits for nothing longer than [`SOON`].
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).unwrap_or_else(|error| panic!("connect to {to}: {error}"))
}

/// The same for one that may be rejected: when the reset is faster than the client's thread, it is
/// connect(2) that reports it.
pub(crate) fn try_connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    Ok(stream)
}

/// Connects and reads to the end.
pub(crate) fn fetch(from: SocketAddr) -> std::io::Result<Vec<u8>> {
    read_all(&mut try_connect(from)?)
}

/// Asserts that a connection is accepted (not refused) and reset.
#[track_caller]
pub(crate) fn assert_rejected(to: SocketAddr) {
    match fetch(to) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// Sends bytes and reads as many back.
pub(crate) fn echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

/// Everything until the end of the stream.
pub(crate) fn read_all(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

/// Asserts that the peer resets (and does not merely end) the connection.
#[track_caller]
pub(crate) fn assert_reset(stream: &mut TcpStream) {
    match stream.read(&mut [0; 64]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// Asserts that the peer ended the connection in an orderly way.
#[track_caller]
pub(crate) fn assert_end(stream: &mut TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        other => panic!("expected the end, got {other:?}"),
    }
}

/// Closes with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A server on an address of its own: one thread accepts, one per connection serves. It listens
/// until it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Backend {
    /// A server that does this with every connection.
    pub(crate) fn new(
        address: SocketAddr,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = listening(address, 4096);
        let (accepted, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, stopped, serve) = (accepted.clone(), stop.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let serve = Arc::clone(&serve);
                thread::Builder::new().stack_size(128 * 1024).spawn(move || serve(stream)).unwrap();
            }
        });
        Self { address, accepted, stop }
    }

    /// Sends back what it gets, and the end after the end.
    pub(crate) fn echo(address: SocketAddr) -> Self {
        Self::new(address, |mut stream| {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// Says something and closes.
    pub(crate) fn says(address: SocketAddr, text: &'static str) -> Self {
        Self::new(address, move |mut stream| {
            let _ = stream.write_all(text.as_bytes());
        })
    }

    /// Hands the streams it accepts to the test.
    pub(crate) fn hands_over(address: SocketAddr) -> (Self, std::sync::mpsc::Receiver<TcpStream>) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(4096);
        let backend = Self::new(address, move |stream| {
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.set_write_timeout(Some(SOON)).unwrap();
            let _ = sender.send(stream);
        });
        (backend, receiver)
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A listening socket with an accept queue of this length.
fn listening(address: SocketAddr, backlog: i32) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(backlog).unwrap();
    socket.into()
}

/// An endpoint that answers no SYN: its accept queue is full. Lives as long as what it returns.
pub(crate) fn black_hole(address: SocketAddr) -> impl Sized {
    let socket = listening(address, 0);
    let filler = TcpStream::connect(address).unwrap();
    let refused = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    assert!(refused.is_err(), "the queue of the black hole is not full");
    (socket, filler)
}

/// A stream of bytes that both ends can make: byte `n` is a function of `n` and the seed.
pub(crate) fn pattern(seed: u64, offset: u64, buffer: &mut [u8]) {
    for (index, byte) in buffer.iter_mut().enumerate() {
        let n = (offset + index as u64).wrapping_add(seed);
        *byte = (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8;
    }
}

/// Sends `length` bytes of the pattern.
pub(crate) fn send_pattern(stream: &mut impl Write, seed: u64, length: u64) {
    let mut buffer = vec![0; 64 * 1024];
    let mut sent = 0;
    while sent < length {
        let size = buffer.len().min(usize::try_from(length - sent).unwrap());
        pattern(seed, sent, &mut buffer[..size]);
        stream.write_all(&buffer[..size]).unwrap();
        sent += size as u64;
    }
    stream.flush().unwrap();
}

/// Reads the pattern to the end of the stream; sleeps `pause` after every read.
pub(crate) fn receive_pattern(stream: &mut impl Read, seed: u64, pause: Duration) -> u64 {
    let (received, end) = receive(stream, seed, pause);
    end.unwrap();
    received
}

/// The same up to the end or a failure.
pub(crate) fn receive(
    stream: &mut impl Read,
    seed: u64,
    pause: Duration,
) -> (u64, std::io::Result<()>) {
    let (mut buffer, mut expected) = (vec![0; 256 * 1024], vec![0; 256 * 1024]);
    let mut received = 0;
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return (received, Ok(())),
            Ok(read) => read,
            Err(error) => return (received, Err(error)),
        };
        pattern(seed, received, &mut expected[..read]);
        assert!(buffer[..read] == expected[..read], "bytes differ after {received}");
        received += read as u64;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

/// Addresses that no host has (240/4 is reserved, 2001:db8::/32 is for documentation), another one
/// in every process.
pub(crate) fn absent() -> [SocketAddr; 2] {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let group = u16::from_be_bytes([high, low]);
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, group);
    [([240, 77, high, low], 7000).into(), (six, 7000).into()]
}
