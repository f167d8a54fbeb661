//! What flows through TLS that ends here: all of it, in order, with its ends and failures.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{HandshakeKind, StreamOwned};
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::rig::{
    self, Backend, SOON, apply, assert_end, at, connect, counters, eventually, pattern, proxy,
    reset, send_pattern,
};
use crate::tls::{Issued, TlsStream, client_config, hello, https, session, shake};

const NAME: &str = "a.example.com";

/// An engine with one HTTPS listener.
fn serve(bind: SocketAddr, backend: SocketAddr) -> (Proxy, Issued) {
    let (proxy, issued) = (proxy(), Issued::new(&[NAME]));
    apply(&proxy, &[https("web", bind, NAME, backend, &issued)]);
    (proxy, issued)
}

/// Reads the pattern until the end or a failure.
fn receive(stream: &mut impl Read, seed: u64) -> (u64, std::io::Result<()>) {
    rig::receive(stream, seed, Duration::ZERO)
}

/// 20 MB each way at once, by both versions; then the ends.
#[test]
fn many_bytes_go_both_ways_at_once() {
    const LENGTH: u64 = 20_000_000;
    let (backend, streams) = Backend::hands_over(at("127.38.2.1:9501"));
    let bind = at("127.38.3.1:9500");
    let (proxy, issued) = serve(bind, backend.address);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(issued.der.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut stream = shake(bind, NAME, &Arc::new(config));
        let mut server = streams.recv().unwrap();
        let mut writer = server.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| send_pattern(&mut writer, 1, LENGTH));
            let received = scope.spawn(|| receive(&mut server, 2));
            // One thread has both directions of a rustls stream: in turns of less than the windows.
            let mut back = vec![0; 40_000];
            let mut expected = back.clone();
            let mut moved = 0;
            let mut block = vec![0; 40_000];
            while moved < LENGTH {
                pattern(2, moved, &mut block);
                stream.write_all(&block).unwrap();
                stream.read_exact(&mut back).unwrap();
                pattern(1, moved, &mut expected);
                assert!(back == expected, "bytes differ after {moved}");
                moved += 40_000;
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            let (received, end) = received.join().unwrap();
            assert_eq!((received, end.is_ok()), (LENGTH, true));
        });
        // Half closed: the other direction is still open.
        writer.write_all(b"late").unwrap();
        let mut late = [0; 4];
        stream.read_exact(&mut late).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "close_notify");
        assert_end(&mut stream.sock);
    }
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [].into());
    assert_eq!((counters(&proxy).bytes_in, counters(&proxy).bytes_out), (40_000_000, 40_000_008));
}

/// The backend ends first; the client may go on.
#[test]
fn the_backend_may_end_its_direction_first() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.2:9502"));
    let bind = at("127.38.3.2:9500");
    let (proxy, issued) = serve(bind, backend.address);
    let mut stream = shake(bind, NAME, &issued.client());
    let mut server = streams.recv().unwrap();
    server.write_all(b"bye").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
    let sender = thread::spawn(move || {
        send_pattern(&mut stream, 3, 1_000_000);
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        stream
    });
    let (received, end) = receive(&mut server, 3);
    assert_eq!((received, end.is_ok()), (1_000_000, true));
    let mut stream = sender.join().unwrap();
    assert_end(&mut stream.sock);
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [].into());
}

/// An end without close_notify may be an attacker's: the backend gets what came, and a reset instead
/// of an end (RFC 8446 6.1).
#[test]
fn a_truncated_stream_is_no_ended_one() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.3:9503"));
    let bind = at("127.38.3.3:9500");
    let (proxy, issued) = serve(bind, backend.address);
    for hard in [false, true] {
        let mut stream = shake(bind, NAME, &issued.client());
        let mut server = streams.recv().unwrap();
        send_pattern(&mut stream, 4, 100_000);
        if hard {
            // A reset overtakes what is not read yet; the engine is to have it.
            eventually("forwarded", || counters(&proxy).bytes_in == 200_000);
            reset(stream.sock);
        } else {
            stream.sock.shutdown(Shutdown::Write).unwrap();
        }
        let (received, end) = receive(&mut server, 4);
        assert_eq!(received, 100_000);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [(ResetReason::ByClient, 2)].into());
}

/// The same the other way: what the server sent before its reset is delivered to a client that reads
/// late, and the stream does not look complete.
#[test]
fn what_the_server_sent_before_its_reset_arrives() {
    const LENGTH: u64 = 300_000;
    let (backend, streams) = Backend::hands_over(at("127.38.2.4:9504"));
    let bind = at("127.38.3.4:9500");
    let (proxy, issued) = serve(bind, backend.address);
    for _ in 0..10 {
        let mut stream = shake(bind, NAME, &issued.client());
        let mut server = streams.recv().unwrap();
        let before = counters(&proxy).bytes_out;
        let sender = thread::spawn(move || {
            send_pattern(&mut server, 5, LENGTH);
            // All of it has left for the engine, or a reset would overtake it here.
            thread::sleep(Duration::from_millis(50));
            reset(server);
        });
        sender.join().unwrap();
        thread::sleep(Duration::from_millis(20));
        let (received, end) = receive(&mut stream, 5);
        assert_eq!(received, LENGTH, "after {before}");
        assert!(end.is_err(), "it does not look complete");
    }
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [(ResetReason::ByBackend, 10)].into());
}

/// The client's last message of the handshake and its first data in one segment.
#[test]
fn data_in_the_segment_of_the_finished_is_served() {
    let echo = Backend::echo(at("127.38.2.5:9505"));
    let bind = at("127.38.3.5:9500");
    let (_proxy, issued) = serve(bind, echo.address);
    for length in [1, 5_000, 100_000] {
        let mut session = session(NAME, &issued.client());
        let mut stream = connect(bind);
        stream.write_all(&hello(&mut session)).unwrap();
        while session.is_handshaking() {
            session.read_tls(&mut stream).unwrap();
            session.process_new_packets().unwrap();
        }
        session.set_buffer_limit(None);
        let mut data = vec![0; length];
        pattern(6, 0, &mut data);
        session.writer().write_all(&data).unwrap();
        let mut together = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut together).unwrap();
        }
        stream.write_all(&together).unwrap();
        let mut back = vec![0; length];
        StreamOwned::new(session, stream).read_exact(&mut back).unwrap();
        assert!(back == data);
    }
}

#[test]
fn keys_may_change_in_both_directions() {
    let echo = Backend::echo(at("127.38.2.6:9506"));
    let bind = at("127.38.3.6:9500");
    let (_proxy, issued) = serve(bind, echo.address);
    let mut stream = shake(bind, NAME, &issued.client());
    for round in 0..20_u64 {
        let mut data = vec![0; 30_000];
        pattern(7, round, &mut data);
        stream.write_all(&data).unwrap();
        // Asks the server for new keys of its own, too.
        stream.conn.refresh_traffic_keys().unwrap();
        stream.write_all(b"after").unwrap();
        let mut back = vec![0; data.len() + 5];
        stream.read_exact(&mut back).unwrap();
        assert!(back == [&data[..], b"after"].concat(), "round {round}");
    }
}

/// Sessions are resumed whichever worker has the connection, more of them than a table would hold.
#[test]
fn sessions_are_resumed_by_every_worker() {
    let says = Backend::says(at("127.38.2.7:9507"), "x");
    let bind = at("127.38.3.7:9500");
    let (proxy, issued) = serve(bind, says.address);
    let clients: Vec<_> = (0..300).map(|_| Arc::new(client_config(&[&issued]))).collect();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        for config in &clients {
            let mut stream = shake(bind, NAME, config);
            stream.read_exact(&mut [0; 1]).unwrap();
            let kind = stream.conn.handshake_kind();
            // A group the server likes better costs a full handshake one round trip more.
            let full = |kind| matches!(kind, Some(HandshakeKind::Full));
            assert!(kind == Some(expected) || full(kind) && full(Some(expected)), "{kind:?}");
        }
    }
    assert_eq!(counters(&proxy).accepted, 600);
}

/// A backend that is gone while the client is still shaking hands: a reset, as without TLS.
#[test]
fn a_backend_that_refuses_resets_the_client() {
    let nobody = at("127.38.2.8:9508");
    let bind = at("127.38.3.8:9500");
    let (proxy, issued) = serve(bind, nobody);
    let mut stream = shake(bind, NAME, &issued.client());
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    eventually("counted", || counters(&proxy).resets == [(ResetReason::ConnectFailed, 1)].into());
}

/// The client resets after its own end, while nothing flows: that is noticed, and passed on. (A
/// backend that has read the end cannot read the reset any more, only fail to write.)
#[test]
fn a_reset_after_the_end_of_the_clients_direction_is_passed_on() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.9:9509"));
    let bind = at("127.38.3.9:9500");
    let (proxy, issued) = serve(bind, backend.address);
    let mut stream = shake(bind, NAME, &issued.client());
    let mut server = streams.recv().unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_end(&mut server);
    reset(stream.sock);
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [(ResetReason::ByClient, 1)].into());
    let error = server.write(b"x").unwrap_err().kind();
    assert!(matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}

/// Sends at once what waits in a session, and behind it a record that nobody can open.
fn send_with_a_broken_record(stream: &mut TlsStream) {
    let mut sealed = Vec::new();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut sealed).unwrap();
    }
    sealed.extend([23, 3, 3, 0, 100]);
    sealed.extend([0; 100]);
    stream.sock.write_all(&sealed).unwrap();
}

/// What came whole before a record that nobody can open is delivered, however much of it one read brought; then the
/// backend is reset, and the client told why.
#[test]
fn what_came_before_a_broken_record_arrives() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.11:9511"));
    let bind = at("127.38.3.11:9500");
    let (proxy, issued) = serve(bind, backend.address);
    let lengths = [1, 100, 16_384, 16_385, 50_000, 150_000];
    for length in lengths {
        let mut stream = shake(bind, NAME, &issued.client());
        let mut server = streams.recv().unwrap();
        stream.conn.set_buffer_limit(None);
        let mut data = vec![0; length];
        pattern(8, 0, &mut data);
        // Records of many sizes: a small one before each large one.
        for piece in data.chunks(40_000) {
            let (small, large) = piece.split_at(piece.len().min(7));
            stream.conn.writer().write_all(small).unwrap();
            stream.conn.writer().write_all(large).unwrap();
        }
        send_with_a_broken_record(&mut stream);
        let (received, end) = receive(&mut server, 8);
        assert_eq!(received, length as u64);
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let said = stream.read(&mut [0; 1]).unwrap_err().to_string();
        assert!(said.contains("BadRecordMac"), "{said}");
    }
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [(ResetReason::Tls, lengths.len() as u64)].into());
}

/// Data behind `close_notify` is nobody's; what came before it in the same segment arrives, and the end in order.
#[test]
fn what_is_behind_the_end_is_ignored() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.12:9512"));
    let bind = at("127.38.3.12:9500");
    let (proxy, issued) = serve(bind, backend.address);
    let mut stream = shake(bind, NAME, &issued.client());
    let mut server = streams.recv().unwrap();
    stream.conn.set_buffer_limit(None);
    let mut data = vec![0; 20_000];
    pattern(9, 0, &mut data);
    stream.conn.writer().write_all(&data).unwrap();
    stream.conn.send_close_notify();
    send_with_a_broken_record(&mut stream);
    let (received, end) = receive(&mut server, 9);
    assert_eq!((received, end.is_ok()), (20_000, true));
    server.write_all(b"late").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut late = String::new();
    stream.read_to_string(&mut late).unwrap();
    assert_eq!(late, "late");
    drop(stream);
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).bytes_in, 20_000);
}

/// Who does not read stops who sends, in both directions, and goes on where it stopped.
#[test]
fn a_stalled_receiver_stops_its_sender() {
    let (backend, streams) = Backend::hands_over(at("127.38.2.10:9510"));
    let bind = at("127.38.3.10:9500");
    let (proxy, issued) = serve(bind, backend.address);
    for upwards in [true, false] {
        let mut stream: TlsStream = shake(bind, NAME, &issued.client());
        let mut server = streams.recv().unwrap();
        let patience = Some(Duration::from_millis(500));
        let (mut sent, block) = (0_u64, vec![0; 64 * 1024]);
        let mut accept = |sink: &mut dyn Write| loop {
            match sink.write(&block) {
                Ok(written) => sent += written as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("{error}"),
            }
            assert!(sent < 16 << 20, "{sent} bytes accepted");
        };
        if upwards {
            stream.sock.set_write_timeout(patience).unwrap();
            let sent = accept(&mut stream);
            assert!(counters(&proxy).bytes_in <= sent);
        } else {
            server.set_write_timeout(patience).unwrap();
            let sent = accept(&mut server);
            server.shutdown(Shutdown::Write).unwrap();
            stream.sock.set_read_timeout(Some(SOON)).unwrap();
            let mut all = 0;
            let mut buffer = vec![0; 100_000];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                all += read as u64;
            }
            assert_eq!(all, sent);
        }
    }
}
