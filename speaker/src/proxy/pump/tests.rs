//! One direction between two real TCP connections, turned by hand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::{Progress, Pump, READS_PER_TURN};
use crate::proxy::pipe::Pipes;

/// Two connections: what `writer` writes is to be pumped from `source` to `sink`, where `reader`
/// reads it.
struct Rig {
    writer: TcpStream,
    source: TcpStream,
    sink: TcpStream,
    reader: TcpStream,
    pump: Pump,
    buffer: Vec<u8>,
    pipes: Pipes,
    moved: u64,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.39.1.1:0").unwrap();
    let outer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    outer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (inner, _) = listener.accept().unwrap();
    inner.set_nonblocking(true).unwrap();
    (outer, inner)
}

impl Rig {
    fn new(buffer: usize) -> Self {
        let ((writer, source), (reader, sink)) = (pair(), pair());
        let (pump, buffer) = (Pump::default(), vec![0; buffer]);
        let pipes = Pipes::new(Arc::default(), 1);
        Self { writer, source, sink, reader, pump, buffer, pipes, moved: 0 }
    }

    fn run(&mut self) -> Progress {
        let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
        self.pump.run(source, sink, &mut self.buffer, &mut self.pipes, &mut self.moved)
    }

    /// Writes, and waits until the bytes are there.
    fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
        let mut peeked = vec![0; bytes.len()];
        while self.source.peek(&mut peeked).unwrap_or(0) < bytes.len() {
            std::thread::yield_now();
        }
    }
}

#[test]
fn without_an_event_nothing_is_read() {
    let mut rig = Rig::new(64);
    rig.write(b"abc");
    assert_eq!(rig.run(), Progress::Waiting);
    assert_eq!(rig.moved, 0);
    rig.pump.source_event(EventFlags::IN);
    assert_eq!(rig.run(), Progress::Waiting);
    assert_eq!(rig.moved, 3);
    let mut read = [0; 3];
    rig.reader.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"abc");
}

/// The end came with the bytes, in one edge: the read that gets the bytes is short, and there is
/// no other edge for the end.
#[test]
fn a_short_read_is_not_the_last_one_when_the_end_is_behind_it() {
    let mut rig = Rig::new(64);
    rig.write(b"abc");
    rig.writer.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    rig.pump.source_event(EventFlags::IN | EventFlags::RDHUP);
    assert_eq!(rig.run(), Progress::Finished);
    let mut all = Vec::new();
    rig.reader.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"abc");
}

#[test]
fn a_turn_is_bounded() {
    let mut rig = Rig::new(16);
    rig.write(&[7; 16 * (READS_PER_TURN + 2)]);
    rig.pump.source_event(EventFlags::IN);
    assert_eq!(rig.run(), Progress::More);
    assert_eq!(rig.moved, 16 * READS_PER_TURN as u64);
    assert_eq!(rig.run(), Progress::Waiting);
    assert_eq!(rig.moved, 16 * (READS_PER_TURN as u64 + 2));
}

/// Leftovers are kept in order, nothing is read meanwhile, and the end waits for them.
#[test]
fn a_full_sink_stops_reading_until_it_has_room() {
    let mut rig = Rig::new(64 * 1024);
    rig.writer.set_nonblocking(true).unwrap();
    let block: Vec<u8> = (0..=250).cycle().take(64 * 1024).collect();
    let mut sent = Vec::new();
    while !rig.pump.has_leftover() {
        if let Ok(written) = rig.writer.write(&block) {
            sent.extend_from_slice(&block[..written]);
        }
        rig.pump.source_event(EventFlags::IN);
        rig.run();
    }
    let stalled_at = rig.moved;
    for _ in 0..10 {
        rig.pump.source_event(EventFlags::IN);
        assert_eq!(rig.run(), Progress::Waiting);
    }
    assert_eq!(rig.moved, stalled_at, "read on while the sink was full");
    rig.writer.shutdown(Shutdown::Write).unwrap();

    let mut reader = rig.reader.try_clone().unwrap();
    let received = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let end = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        rig.pump.source_event(EventFlags::IN | EventFlags::RDHUP);
        rig.pump.sink_event(EventFlags::OUT);
        if rig.run() == Progress::Finished {
            break;
        }
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(received.join().unwrap() == sent, "bytes were lost or reordered");
}

/// Once the source is known to have failed, what looks like an orderly end is not passed on.
#[test]
fn the_end_of_a_failed_source_is_no_end() {
    let mut rig = Rig::new(64);
    rig.write(b"abc");
    rig.writer.shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    rig.pump.source_failed();
    assert_eq!(rig.run(), Progress::SourceFailed);
    assert_eq!(rig.moved, 3);
    rig.reader.read_exact(&mut [0; 3]).unwrap();
    rig.reader.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(rig.reader.read(&mut [0; 1]).is_err(), "the end was passed on");
}

#[test]
fn a_failed_sink_is_told_from_a_failed_source() {
    let mut rig = Rig::new(64);
    rig.write(b"abc");
    socket2::SockRef::from(&rig.reader).set_linger(Some(Duration::ZERO)).unwrap();
    let (replacement, _keep) = pair();
    drop(std::mem::replace(&mut rig.reader, replacement));
    std::thread::sleep(Duration::from_millis(20));
    rig.pump.source_event(EventFlags::IN);
    assert_eq!(rig.run(), Progress::SinkFailed);
}

/// Moves what `writer` is given in these pieces, and says what arrived and whether there was ever a pipe.
fn move_all(rig: &mut Rig, pieces: Vec<Vec<u8>>, pause: Duration) -> (Vec<u8>, bool) {
    let mut writer = rig.writer.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for piece in pieces {
            writer.write_all(&piece).unwrap();
            std::thread::sleep(pause);
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut reader = rig.reader.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let mut piped = false;
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        rig.pump.source_event(EventFlags::IN | EventFlags::RDHUP);
        rig.pump.sink_event(EventFlags::OUT);
        let progress = rig.run();
        piped |= rig.pump.is_splicing();
        if progress == Progress::Finished {
            break;
        }
        assert!(matches!(progress, Progress::Waiting | Progress::More), "{progress:?}");
        assert!(std::time::Instant::now() < end);
        if progress == Progress::Waiting {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    writing.join().unwrap();
    (reading.join().unwrap(), piped)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn much_is_spliced_and_arrives_as_it_was_sent() {
    let mut rig = Rig::new(64 * 1024);
    let all = bytes(24 << 20);
    let pieces = all.chunks(777_777).map(<[u8]>::to_vec).collect();
    let (arrived, piped) = move_all(&mut rig, pieces, Duration::ZERO);
    assert!(piped, "24 MiB, and no pipe");
    assert!(arrived == all, "bytes were lost or reordered");
    assert_eq!(rig.moved, all.len() as u64);
    assert!(!rig.pump.has_leftover() && rig.pump.held.is_none(), "the pipe was not given back");
}

/// A pipe is for much: after that comes little, which is copied, and then much again.
#[test]
fn a_direction_goes_to_splicing_and_back() {
    let mut rig = Rig::new(64 * 1024);
    let much = bytes(4 << 20);
    let (mut all, mut pieces) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        pieces.push(much.clone());
        pieces.extend((0..20).map(|_| vec![7; 100]));
    }
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    let (arrived, piped) = move_all(&mut rig, pieces, Duration::from_millis(2));
    assert!(piped && arrived == all);
    assert!(!rig.pump.is_splicing(), "small pieces are still spliced");
}

/// splice(2) does not get past an urgent byte.
#[test]
fn an_urgent_byte_in_the_middle_of_much_arrives_in_its_place() {
    let mut rig = Rig::new(64 * 1024);
    socket2::SockRef::from(&rig.source).set_out_of_band_inline(true).unwrap();
    let (before, after) = (bytes(6 << 20), bytes(2 << 20));
    let mut all = before.clone();
    all.push(b'!');
    all.extend_from_slice(&after);
    let writer = rig.writer.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        (&writer).write_all(&before).unwrap();
        socket2::SockRef::from(&writer).send_out_of_band(b"!").unwrap();
        (&writer).write_all(&after).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut reader = rig.reader.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let watch = |socket: &TcpStream, number| {
        let data = rustix::event::epoll::EventData::new_u64(number);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI;
        rustix::event::epoll::add(&epoll, socket, data, flags | EventFlags::ET).unwrap();
    };
    watch(&rig.source, 0);
    watch(&rig.sink, 1);
    let mut events = Vec::with_capacity(4);
    let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    // By the edges alone, as in a worker.
    loop {
        events.clear();
        let spare = rustix::buffer::spare_capacity(&mut events);
        let count = rustix::event::epoll::wait(&epoll, spare, Some(&timeout)).unwrap();
        assert!(count > 0, "stuck after {} of {} bytes", rig.moved, all.len());
        for event in &events {
            let event: &rustix::event::epoll::Event = event;
            match event.data.u64() {
                0 => rig.pump.source_event(event.flags),
                _ => rig.pump.sink_event(event.flags),
            }
        }
        let mut progress = rig.run();
        while progress == Progress::More {
            progress = rig.run();
        }
        if progress == Progress::Finished {
            break;
        }
        assert_eq!(progress, Progress::Waiting);
    }
    writing.join().unwrap();
    assert!(reading.join().unwrap() == all, "bytes were lost or reordered");
    assert!(!rig.pump.is_splicing());
}

/// What the source had sent before it failed is not lost in a pipe.
#[test]
fn a_pipe_is_emptied_after_the_source_failed() {
    let mut rig = Rig::new(64 * 1024);
    rig.pump.bulk = super::BULK;
    rig.write(&bytes(60_000));
    rig.pump.source_event(EventFlags::IN);
    assert_eq!(rig.run(), Progress::Waiting);
    assert!(rig.pump.held.is_none(), "an empty pipe was kept");
    rig.write(&bytes(1000));
    socket2::SockRef::from(&rig.writer).set_linger(Some(Duration::ZERO)).unwrap();
    let (replacement, _keep) = pair();
    drop(std::mem::replace(&mut rig.writer, replacement));
    std::thread::sleep(Duration::from_millis(20));
    rig.pump.source_failed();
    assert_eq!(rig.run(), Progress::SourceFailed);
    // The kernel throws away what was not read before a reset (RFC 9293 3.10.7.4); what was read arrives.
    let mut read = vec![0; 60_000];
    rig.reader.read_exact(&mut read).unwrap();
    assert!(read == bytes(60_000));
    assert!(!rig.pump.has_leftover());
}
