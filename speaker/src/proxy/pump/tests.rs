//! One direction between two real TCP connections, turned by hand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::{Progress, Pump, READS_PER_TURN};

/// Two connections: what `writer` writes is to be pumped from `source` to `sink`, where `reader`
/// reads it.
struct Rig {
    writer: TcpStream,
    source: TcpStream,
    sink: TcpStream,
    reader: TcpStream,
    pump: Pump,
    buffer: Vec<u8>,
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
        Self { writer, source, sink, reader, pump, buffer, moved: 0 }
    }

    fn run(&mut self) -> Progress {
        let (source, sink) = (self.source.as_fd(), self.sink.as_fd());
        self.pump.run(source, sink, &mut self.buffer, &mut self.moved)
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
