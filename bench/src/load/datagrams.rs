//! Datagrams there and back, a fixed number under way on each socket: what comes back is sent again under its next
//! number. One that does not come back is counted as lost, and its place is taken by another.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::{Outcome, Times};
use crate::datagrams::{Batch, To, Wait};
use crate::piece::FILL;

/// Under way on a socket.
const WINDOW: usize = 16;
/// One that takes longer is lost.
const LOST: Duration = Duration::from_millis(250);
/// Socket, place in the window, and number; then there is filling.
const HEAD: usize = 12;

/// One socket of the load.
struct Flow {
    socket: UdpSocket,
    number: u16,
    /// By place: the number of the one that is under way, and when it was sent.
    window: Vec<(u64, Instant)>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    times: Times,
    lost: u64,
    /// With other bytes than were sent.
    failed: u64,
}

/// Keeps so many sockets going for a time.
pub(super) fn run(to: SocketAddr, sockets: usize, length: usize, seconds: f64) -> Result<Outcome> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut flows = Vec::with_capacity(sockets);
    for number in 0..u16::try_from(sockets)? {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(to)?;
        epoll::add(&epoll, &socket, EventData::new_u64(number.into()), EventFlags::IN)?;
        flows.push(Flow { socket, number, window: vec![(0, Instant::now()); WINDOW] });
    }
    let mut found = Found { times: Times::with_capacity(1 << 20), ..Found::default() };
    let mut batch = Batch::new();
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(seconds);
    for flow in &mut flows {
        flow.send(0..WINDOW, length, &mut batch)?;
    }
    let mut events: Vec<epoll::Event> = Vec::with_capacity(sockets);
    let (mut now, mut checked) = (start, start);
    let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while now < until {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&tick)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let flow = &mut flows[usize::try_from(event.data.u64())?];
            match batch.receive(&flow.socket, Wait::Never) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(error) => return Err(error).context("a socket of the load failed"),
            }
            flow.take(&mut batch, length, &mut found);
            batch.send(&flow.socket, To::Connected).context("cannot send")?;
        }
        now = Instant::now();
        if now.duration_since(checked) > LOST / 5 {
            checked = now;
            for flow in &mut flows {
                let is_lost = |(_, sent): &(u64, Instant)| now.duration_since(*sent) > LOST;
                let places: Vec<_> =
                    (0..WINDOW).filter(|place| is_lost(&flow.window[*place])).collect();
                found.lost += places.len() as u64;
                flow.send(places, length, &mut batch)?;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let (done, lost, failed) = (found.times.len() as u64, found.lost, found.failed);
    let (p50, p99) = super::percentiles(&mut found.times);
    Ok(Outcome { done, failed, lost, seconds, p50, p99 })
}

impl Flow {
    /// Sends the next datagram of each of these places.
    fn send(
        &mut self,
        places: impl IntoIterator<Item = usize>,
        length: usize,
        batch: &mut Batch,
    ) -> Result<()> {
        batch.clear();
        for place in places {
            let under_way = &mut self.window[place];
            *under_way = (under_way.0 + 1, Instant::now());
            let bytes = batch.add(length).context("a window is no longer than a batch")?;
            bytes.fill(FILL);
            bytes[..HEAD].copy_from_slice(&head(self.number, place, under_way.0));
        }
        batch.send(&self.socket, To::Connected).context("cannot send")
    }

    /// Looks at what came back; leaves what is to be sent instead.
    fn take(&mut self, batch: &mut Batch, length: usize, found: &mut Found) {
        let now = Instant::now();
        batch.retain(|bytes| match self.place(bytes, length) {
            Ok(place) => {
                let under_way = &mut self.window[place];
                found.times.push(now.duration_since(under_way.1));
                *under_way = (under_way.0 + 1, now);
                bytes[..HEAD].copy_from_slice(&head(self.number, place, under_way.0));
                true
            }
            Err(Stray::Late) => false,
            Err(Stray::Wrong) => {
                found.failed += 1;
                false
            }
        });
    }

    /// Whose answer it is.
    fn place(&self, bytes: &[u8], length: usize) -> Result<usize, Stray> {
        const FILLED: [u8; 2048] = [FILL; 2048];
        if bytes.len() != length || bytes[HEAD..] != FILLED[..length - HEAD] {
            return Err(Stray::Wrong);
        }
        let place = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let sequence = u64::from_be_bytes(bytes[4..HEAD].try_into().expect("eight bytes"));
        match self.window.get(place) {
            Some((under_way, _)) if bytes[..HEAD] == head(self.number, place, *under_way) => {
                Ok(place)
            }
            // It was given up, or came twice.
            Some((under_way, _))
                if sequence < *under_way && bytes[..2] == self.number.to_be_bytes() =>
            {
                Err(Stray::Late)
            }
            _ => Err(Stray::Wrong),
        }
    }
}

/// What is not the answer to what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stray {
    /// To something earlier.
    Late,
    /// To nothing that this socket sent.
    Wrong,
}

fn head(number: u16, place: usize, sequence: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..2].copy_from_slice(&number.to_be_bytes());
    head[2..4].copy_from_slice(&(place as u16).to_be_bytes());
    head[4..].copy_from_slice(&sequence.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Flow { socket, number: 3, window: vec![(5, Instant::now()); WINDOW] }
    }

    fn datagram(number: u16, place: usize, sequence: u64) -> Vec<u8> {
        [&head(number, place, sequence)[..], &[FILL; 52]].concat()
    }

    #[test]
    fn only_what_is_under_way_counts() {
        let flow = flow();
        assert_eq!(flow.place(&datagram(3, 15, 5), 64), Ok(15));
        assert_eq!(flow.place(&datagram(3, 15, 4), 64), Err(Stray::Late));
        for wrong in
            [datagram(3, 15, 6), datagram(2, 15, 5), datagram(2, 15, 4), datagram(3, 16, 5)]
        {
            assert_eq!(flow.place(&wrong, 64), Err(Stray::Wrong), "{wrong:?}");
        }
        let mut spoilt = datagram(3, 15, 5);
        spoilt[63] = 0;
        assert_eq!(flow.place(&spoilt, 64), Err(Stray::Wrong));
        assert_eq!(flow.place(&spoilt[..63], 64), Err(Stray::Wrong));
    }

    /// Between an echo and the load there is nothing that could lose any.
    #[test]
    fn an_echo_answers_all() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut batch = Batch::new();
            while batch.receive(&server, Wait::Forever).is_ok() {
                batch.send(&server, To::Sender).unwrap();
            }
        });
        let outcome = run(to, 4, 1400, 0.1).unwrap();
        assert!(outcome.done > 100, "{outcome:?}");
        assert_eq!((outcome.failed, outcome.lost), (0, 0), "{outcome:?}");
    }
}
