//! Requests of 64 bytes that come back, on connections that stay or on one each. One loop for all of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use super::Outcome;

const LENGTH: usize = 64;
/// A request or connection that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection of the loop.
struct Slot {
    stream: TcpStream,
    /// When the connection, or its present request, began.
    begun: Instant,
    /// Bytes of the answer that are there.
    read: usize,
    asked: bool,
}

/// Keeps so many going for a time. `renew`: a connection for each request.
pub(super) fn run(to: SocketAddr, at_once: usize, seconds: f64, renew: bool) -> Result<Outcome> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut slots = Vec::with_capacity(at_once);
    for number in 0..at_once {
        slots.push(begin(&epoll, to, number)?);
    }
    let (mut times, mut failed) = (Vec::with_capacity(1 << 20), 0);
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
    let mut checked = start;
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
                        slots[number] = begin(&epoll, to, number)?;
                    } else {
                        slot.ask()?;
                    }
                }
                Err(_) => {
                    failed += 1;
                    slots[number] = begin(&epoll, to, number)?;
                }
            }
        }
        let now = Instant::now();
        if now.duration_since(checked) > PATIENCE / 5 {
            checked = now;
            for (number, slot) in slots.iter_mut().enumerate() {
                if now.duration_since(slot.begun) > PATIENCE {
                    failed += 1;
                    *slot = begin(&epoll, to, number)?;
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: f64| {
        let place = (times.len() as f64 * part) as usize;
        times.get(place.min(times.len().saturating_sub(1))).map_or(0.0, |t| t.as_secs_f64() * 1e6)
    };
    let (p50, p99) = (at(0.5), at(0.99));
    Ok(Outcome { done: times.len() as u64, failed, seconds, p50, p99 })
}

/// Opens connections, has each echo once, says so, and holds them until the input ends.
pub(super) fn hold(to: SocketAddr, connections: usize) -> Result<()> {
    let mut held = Vec::with_capacity(connections);
    let mut buffer = [0; LENGTH];
    for number in 0..connections {
        let mut stream = TcpStream::connect(to).with_context(|| format!("connection {number}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&[7; LENGTH])?;
        stream.read_exact(&mut buffer).with_context(|| format!("echo {number}"))?;
        held.push(stream);
    }
    println!("holding {}", held.len());
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn begin(epoll: &impl AsFd, to: SocketAddr, number: usize) -> Result<Slot> {
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
    Ok(Slot { stream, begun: Instant::now(), read: 0, asked: false })
}

impl Slot {
    fn ask(&mut self) -> Result<()> {
        self.begun = Instant::now();
        (self.read, self.asked) = (0, true);
        self.stream.write_all(&[7; LENGTH]).context("cannot write a request")
    }

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
            let begun = self.begun;
            self.ask()?;
            self.begun = begun;
        }
        let mut buffer = [0; LENGTH];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => ensure!(false, "closed before the answer"),
                Ok(read) => {
                    ensure!(buffer[..read].iter().all(|byte| *byte == 7), "another answer");
                    self.read += read;
                    ensure!(self.read <= LENGTH, "more than was asked");
                    if self.read == LENGTH {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
