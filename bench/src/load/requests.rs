//! Requests of 64 bytes that come back, on connections that stay or on one each. One loop for all of a thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::{Outcome, Times};

pub(super) const LENGTH: usize = 64;
/// What a request consists of.
pub(super) const REQUEST: [u8; LENGTH] = [7; LENGTH];
/// A request or connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said on a connection. Reads and writes until the socket has or takes no more, for its edges are waited for.
pub(super) trait Talk {
    /// Sends a request.
    fn ask(&mut self, stream: &mut TcpStream) -> Result<()>;
    /// Goes on; whether the answer is complete.
    fn go_on(&mut self, stream: &mut TcpStream) -> Result<bool>;
    /// Says goodbye, where that is custom.
    fn part(&mut self, _stream: &mut TcpStream) {}
}

/// How many requests there are at once, and how many threads look after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) at_once: usize,
    pub(super) threads: usize,
}

/// A connection of the loop.
struct Slot<T> {
    stream: TcpStream,
    /// When the connection, or its present request, began.
    begun: Instant,
    asked: bool,
    talk: T,
}

/// Keeps so many going for a time. `renew`: a connection for each request.
pub(super) fn run<T: Talk>(
    to: SocketAddr,
    crowd: Crowd,
    seconds: f64,
    renew: bool,
    talk: impl Fn() -> Result<T> + Sync,
) -> Result<Outcome> {
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let each = crowd.at_once.div_ceil(crowd.threads);
    let work = || keep(to, each, until, renew, &talk);
    let parts: Vec<Result<(Times, u64)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..crowd.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let mut outcome = Outcome { seconds: start.elapsed().as_secs_f64(), ..Outcome::default() };
    let mut times = Times::default();
    for part in parts {
        let (mut more, failed) = part?;
        times.append(&mut more);
        outcome.failed += failed;
    }
    outcome.done = times.len() as u64;
    (outcome.p50, outcome.p99) = super::percentiles(&mut times);
    Ok(outcome)
}

/// One thread's. How long each took, and how many failed.
fn keep<T: Talk>(
    to: SocketAddr,
    at_once: usize,
    until: Instant,
    renew: bool,
    talk: &impl Fn() -> Result<T>,
) -> Result<(Times, u64)> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let begin = |number: usize| begin(&epoll, to, number, talk()?);
    let mut slots = (0..at_once).map(begin).collect::<Result<Vec<_>>>()?;
    let (mut times, mut failed) = (Times::with_capacity(1 << 20), 0);
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut checked = Instant::now();
    let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while Instant::now() < until {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = usize::try_from(event.data.u64())?;
            let slot = &mut slots[number];
            match slot.go_on() {
                Ok(false) => {}
                Ok(true) => {
                    times.push(slot.begun.elapsed());
                    if renew {
                        slot.talk.part(&mut slot.stream);
                        slots[number] = begin(number)?;
                    } else {
                        slot.begun = Instant::now();
                        slot.talk.ask(&mut slot.stream)?;
                    }
                }
                Err(error) => {
                    // Of many that fail alike one is enough.
                    if failed == 0 {
                        eprintln!("a connection failed: {error:#}");
                    }
                    failed += 1;
                    slots[number] = begin(number)?;
                }
            }
        }
        let now = Instant::now();
        if now.duration_since(checked) > PATIENCE / 5 {
            checked = now;
            for (number, slot) in slots.iter_mut().enumerate() {
                if now.duration_since(slot.begun) > PATIENCE {
                    failed += 1;
                    *slot = begin(number)?;
                }
            }
        }
    }
    Ok((times, failed))
}

/// Opens connections, has each echo once, says so, and holds them until the input ends.
pub(super) fn hold(to: SocketAddr, connections: usize) -> Result<()> {
    let mut held = Vec::with_capacity(connections);
    let mut buffer = [0; LENGTH];
    for number in 0..connections {
        let mut stream = TcpStream::connect(to).with_context(|| format!("connection {number}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&REQUEST)?;
        stream.read_exact(&mut buffer).with_context(|| format!("echo {number}"))?;
        ensure!(buffer == REQUEST, "another answer on connection {number}");
        held.push(stream);
    }
    println!("holding {}", held.len());
    thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn begin<T>(epoll: &impl AsFd, to: SocketAddr, number: usize, talk: T) -> Result<Slot<T>> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error).context("cannot connect"),
    }
    let stream = TcpStream::from(socket);
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, &stream, EventData::new_u64(number as u64), flags)?;
    Ok(Slot { stream, begun: Instant::now(), asked: false, talk })
}

impl<T: Talk> Slot<T> {
    /// Whether the answer is complete.
    fn go_on(&mut self) -> Result<bool> {
        if !self.asked {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            // Not connected yet: the edge that it is will come.
            if self.stream.peer_addr().is_err() {
                return Ok(false);
            }
            self.asked = true;
            self.talk.ask(&mut self.stream)?;
        }
        self.talk.go_on(&mut self.stream)
    }
}

/// What is left of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    read: usize,
}

impl Answer {
    /// Looks at what came; whether it is complete.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<bool> {
        self.read += bytes.len();
        ensure!(self.read <= LENGTH, "more than was asked");
        ensure!(bytes.iter().all(|byte| *byte == REQUEST[0]), "another answer");
        Ok(self.read == LENGTH)
    }
}

/// Bytes as they are.
#[derive(Debug, Default)]
pub(super) struct Plain {
    answer: Answer,
}

impl Talk for Plain {
    fn ask(&mut self, stream: &mut TcpStream) -> Result<()> {
        self.answer = Answer::default();
        stream.write_all(&REQUEST).context("cannot write a request")
    }

    fn go_on(&mut self, stream: &mut TcpStream) -> Result<bool> {
        let mut buffer = [0; 2 * LENGTH];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => ensure!(false, "closed before the answer"),
                Ok(read) => {
                    if self.answer.add(&buffer[..read])? {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
