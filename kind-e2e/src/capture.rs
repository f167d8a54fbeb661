//! Frames off the wire of a node, by an AF_PACKET socket of our own.
//!
//! tcpdump is no choice: where it changes its user after opening the device, as Debian's does,
//! it does not run in the user namespace of somebody who is not root. It still compiles filters.
//!
//! Guarantees: no frame is missed from the return of `start` to the call of [`Capture::stop`];
//! where the kernel had to drop one, `stop` fails.

mod filter;

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;
use crate::{Frame, Node, patience};

/// How long a frame may take from the socket of its sender to ours, on one kernel.
const SETTLE: Duration = Duration::from_millis(100);
/// How often the reader looks whether it is to stop.
const READ_TIMEOUT: Duration = Duration::from_millis(20);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// For bursts; without privilege over the host the kernel cuts it to `net.core.rmem_max`.
const SOCKET_BUFFER: usize = 16 << 20;
/// In all; a longer capture is an error, not a full memory.
const KEEP: usize = 64 << 20;
/// ETH_P_ALL, in network order as socket(2) wants it: sent and received, whatever protocol.
const ALL_PROTOCOLS: i32 = 3_u16.to_be() as i32;

/// A running capture. It sees what the interface receives and sends.
#[derive(Debug)]
pub struct Capture {
    namespace: Arc<Namespace>,
    shared: Arc<Shared>,
    reader: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    socket: Socket,
    stopping: AtomicBool,
    frames: Mutex<Frames>,
}

#[derive(Debug, Default)]
struct Frames {
    kept: Vec<Frame>,
    octets: usize,
    /// Why the capture ended before it was stopped.
    failure: Option<String>,
}

impl Capture {
    pub(crate) fn start(node: &Node, interface: &str, filter: &str) -> Result<Self> {
        let start = || -> Result<Self> {
            let info = node.namespace.ip_json(&["link", "show", "dev", interface])?;
            let index = info[0]["ifindex"].as_u64().context("ip shows no ifindex")?;
            let program = filter::program(u32::try_from(index)?, filter)?;
            let socket = node.enter(|| open(&program)).context("cannot open a packet socket")?;
            let shared = Arc::new(Shared {
                socket,
                stopping: AtomicBool::new(false),
                frames: Mutex::default(),
            });
            let in_thread = Arc::clone(&shared);
            let reader = std::thread::spawn(move || read(&in_thread));
            Ok(Self { namespace: Arc::clone(&node.namespace), shared, reader: Some(reader) })
        };
        start().with_context(|| {
            format!("cannot capture {interface} of {} with filter {filter:?}", node.name())
        })
    }

    /// The frames so far.
    ///
    /// # Errors
    /// When the interface failed, or there were more than 64 MiB of frames.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        let frames = self.shared.frames();
        match &frames.failure {
            None => Ok(frames.kept.clone()),
            Some(failure) => bail!("the capture ended early: {failure}"),
        }
    }

    /// Waits for a frame that `wanted` accepts, captured now or before.
    ///
    /// # Errors
    /// When none comes within `timeout` (times the patience); with the frames that came.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame> {
        let timeout = patience(timeout);
        let deadline = Instant::now() + timeout;
        loop {
            // Taken before the look, so that the last look is at the end of the time.
            let over = Instant::now() >= deadline;
            let frames = self.frames()?;
            if let Some(frame) = frames.iter().find(|frame| wanted(frame)) {
                return Ok(frame.clone());
            }
            if over {
                bail!("no such frame within {timeout:?}; captured: {frames:#?}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends the capture and returns all frames, with those sent just before.
    ///
    /// # Errors
    /// When the kernel dropped frames, or there were more than 64 MiB of them.
    pub fn stop(mut self) -> Result<Vec<Frame>> {
        std::thread::sleep(SETTLE);
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            ensure!(reader.join().is_ok(), "the reader of the capture panicked");
        }
        let dropped = dropped(&self.namespace, &self.shared.socket)?;
        ensure!(dropped == 0, "the capture has holes: {dropped} frames; use a narrower filter");
        self.frames()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().expect("no holder of the lock panics")
    }
}

impl Frames {
    fn keep(&mut self, frame: Frame) {
        self.octets += frame.bytes.len();
        if self.octets > KEEP {
            self.failure = Some(format!("more than {KEEP} octets: use a narrower filter"));
        } else {
            self.kept.push(frame);
        }
    }
}

/// A socket that has seen nothing yet and from now on sees what `program` accepts. It is not
/// bound to the interface but filters by it, which takes no address structure of the kernel's.
fn open(program: &[socket2::SockFilter]) -> Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ALL_PROTOCOLS)))?;
    // Nothing more, away with what came before, and only then what is wanted.
    socket.attach_filter(&filter::nothing())?;
    socket.set_nonblocking(true)?;
    let mut octet = [0];
    while (&socket).read(&mut octet).is_ok() {}
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(READ_TIMEOUT))?;
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    }
    socket.attach_filter(program)?;
    Ok(socket)
}

/// Reads until told to stop *and* nothing is left.
fn read(shared: &Shared) {
    let start = Instant::now();
    // Offloads make frames on a veth as long as an IP packet can be, and a header.
    let mut buffer = vec![0; 128 << 10];
    loop {
        let stopping = shared.stopping.load(Ordering::SeqCst);
        match (&shared.socket).read(&mut buffer) {
            Ok(length) => {
                let bytes = buffer[..length].to_vec();
                shared.frames().keep(Frame { at: start.elapsed(), bytes });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stopping {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                shared.frames().failure = Some(error.to_string());
                return;
            }
        }
    }
}

/// How many frames the kernel could not queue at `socket`.
fn dropped(namespace: &Namespace, socket: &Socket) -> Result<u64> {
    let inode = rustix::fs::fstat(socket)?.st_ino;
    let printed = namespace.enter(|| {
        std::process::Command::new("ss")
            .args(["--packet", "--no-header", "--numeric", "--extended", "--memory"])
            .output()
    });
    let printed = String::from_utf8_lossy(&printed.context("cannot run `ss`")?.stdout).into_owned();
    drops_in(&printed, inode).with_context(|| format!("ss shows no socket {inode}: {printed}"))
}

/// The number after `d` in the `skmem:(…,d0)` that follows the socket's `ino:`.
fn drops_in(printed: &str, inode: u64) -> Option<u64> {
    let after = printed.split(&format!("ino:{inode} ")).nth(1)?;
    let memory = after.split("skmem:(").nth(1)?.split(')').next()?;
    memory.rsplit_once(",d")?.1.parse().ok()
}

#[cfg(test)]
mod tests;
