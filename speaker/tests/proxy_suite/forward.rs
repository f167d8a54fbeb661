//! Bytes get through, in both directions, whole and in order.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::rig::{
    Backend, apply, at, connect, counters, echo, eventually, listener, proxy, read_all,
    receive_pattern, send_pattern, share,
};

#[test]
fn echo_through() {
    let backend = Backend::echo(at("127.31.0.2:7000"));
    let proxy = proxy();
    let bind = at("127.31.0.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    for round in 0..200_u32 {
        echo(&mut client, &round.to_be_bytes());
    }
    assert_eq!(counters(&proxy).open, 1);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"");
    eventually("the connection is closed", || counters(&proxy).open == 0);
    let counters = counters(&proxy);
    assert_eq!((counters.bytes_in, counters.bytes_out), (800, 800));
    assert_eq!(counters.accepted, 1);
    assert!(counters.resets.is_empty(), "{counters:?}");
    assert_eq!(proxy.snapshot().endpoints.into_values().next().unwrap().connected, 1);
}

#[test]
fn ipv6_works_too() {
    let backend = Backend::echo(at("[::1]:7106"));
    let proxy = proxy();
    let bind = at("[::1]:7107");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    echo(&mut connect(bind), b"over six");
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let backend = Backend::says(at("127.31.1.2:7000"), "220 ready\r\n");
    let proxy = proxy();
    let bind = at("127.31.1.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    assert_eq!(read_all(&mut connect(bind)).unwrap(), b"220 ready\r\n");
}

/// 64 MiB each way at once; the client's half of it reads slowly, so leftovers and back-pressure
/// are at work all the time.
#[test]
fn bulk_in_both_directions_with_a_slow_reader() {
    const LENGTH: u64 = 64 << 20;
    let backend = Backend::new(at("127.31.2.2:7000"), |mut stream| {
        let mut writer = stream.try_clone().unwrap();
        let sender = thread::spawn(move || {
            send_pattern(&mut writer, 2, LENGTH);
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert_eq!(receive_pattern(&mut stream, 1, Duration::ZERO), LENGTH);
        sender.join().unwrap();
    });
    let proxy = proxy();
    let bind = at("127.31.2.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    let mut writer = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        send_pattern(&mut writer, 1, LENGTH);
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(receive_pattern(&mut client, 2, Duration::from_millis(2)), LENGTH);
    sender.join().unwrap();
    eventually("the connection is closed", || counters(&proxy).open == 0);
    let counters = counters(&proxy);
    assert_eq!((counters.bytes_in, counters.bytes_out), (LENGTH, LENGTH));
    assert!(counters.resets.is_empty(), "{counters:?}");
}

/// The client ends its direction before the answer begins (`echo … | nc`), here even before the
/// backend has accepted.
#[test]
fn half_close_by_the_client() {
    let backend = Backend::new(at("127.31.3.2:7000"), |mut stream| {
        let request = read_all(&mut stream).unwrap();
        thread::sleep(Duration::from_millis(20));
        send_pattern(&mut stream, 3, 4 << 20);
        stream.write_all(&request).unwrap();
    });
    let proxy = proxy();
    let bind = at("127.31.3.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    for _ in 0..20 {
        let mut client = connect(bind);
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let answer = read_all(&mut client).unwrap();
        assert_eq!(answer.len(), (4 << 20) + 8);
        assert_eq!(&answer[4 << 20..], b"question");
    }
    eventually("all are closed", || counters(&proxy).open == 0);
    assert!(counters(&proxy).resets.is_empty());
}

#[test]
fn half_close_by_the_server() {
    let (backend, streams) = Backend::hands_over(at("127.31.4.2:7000"));
    let proxy = proxy();
    let bind = at("127.31.4.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    let mut server = streams.recv().unwrap();
    server.write_all(b"last words").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client).unwrap(), b"last words");
    let sender = thread::spawn(move || {
        send_pattern(&mut client, 4, 8 << 20);
        client.shutdown(Shutdown::Write).unwrap();
        client
    });
    assert_eq!(receive_pattern(&mut server, 4, Duration::ZERO), 8 << 20);
    sender.join().unwrap();
    eventually("the connection is closed", || counters(&proxy).open == 0);
}

/// Bytes and the end arrive in one wake-up: a read that does not fill the buffer must not be taken
/// for the last one.
#[test]
fn data_and_end_together() {
    let backend = Backend::echo(at("127.31.5.2:7000"));
    let proxy = proxy();
    let bind = at("127.31.5.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    for round in 0..500_u32 {
        let mut client = connect(bind);
        client.write_all(&round.to_be_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client).unwrap(), round.to_be_bytes());
    }
}

/// A read stops at an urgent mark without being the last; the byte itself stays in the stream. The
/// client says nothing after it, so no later event helps.
#[test]
fn urgent_data_does_not_stall_the_stream() {
    let backend = Backend::echo(at("127.31.6.2:7000"));
    let proxy = proxy();
    let bind = at("127.31.6.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    for _ in 0..50 {
        let mut client = connect(bind);
        let socket = socket2::SockRef::from(&client);
        assert_eq!(socket.send_out_of_band(b"before!").unwrap(), 7);
        client.write_all(b"after").unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut client, &mut answer).unwrap();
        assert_eq!(&answer, b"before!after");
    }
}
