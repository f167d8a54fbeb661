//! Batches over real sockets, and pieces that have to be cut here.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let [a, b] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    for socket in [&a, &b] {
        socket.set_nonblocking(true).unwrap();
    }
    (a, b)
}

fn lengths(batch: &Batch) -> Vec<usize> {
    batch.pieces().iter().map(|piece| piece.len).collect()
}

#[test]
fn datagrams_come_whole_with_who_sent_them() {
    let (a, b) = pair();
    let mut batch = Batch::default();
    assert_eq!(batch.receive::<CAPACITY>(b.as_fd()), Err(Errno::AGAIN));
    let long: Vec<u8> = (0..65_507_u32).map(|n| n as u8).collect();
    for datagram in [&b"one"[..], b"", &long] {
        a.send(datagram).unwrap();
    }
    batch.receive::<CAPACITY>(b.as_fd()).unwrap();
    assert_eq!(lengths(&batch), [3, 0, 65_507]);
    assert!(batch.pieces().iter().all(|piece| piece.peer == a.local_addr().unwrap()));
    assert!(batch.pieces().iter().all(|piece| (piece.segment, piece.datagrams()) == (0, 1)));
    assert_eq!((batch.bytes(0), batch.bytes(2)), (&b"one"[..], &long[..]));
    a.send(b"next").unwrap();
    a.send(b"last").unwrap();
    batch.receive::<1>(b.as_fd()).unwrap();
    assert_eq!(lengths(&batch), [3, 0, 65_507, 4], "one more");
}

#[test]
fn both_families_are_addressed() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let [a, b] = [0, 1].map(|_| UdpSocket::bind(at).unwrap());
        a.send_to(b"there", b.local_addr().unwrap()).unwrap();
        let (mut batch, mut offload) = (Batch::default(), Offload::default());
        batch.receive::<1>(b.as_fd()).unwrap();
        assert_eq!(batch.pieces()[0].peer, a.local_addr().unwrap());
        assert_eq!(batch.send(b.as_fd(), 0..1, To::Peer, &mut offload), (1, None));
        let mut back = [0; 16];
        assert_eq!(a.recv_from(&mut back).unwrap(), (5, b.local_addr().unwrap()));
    }
}

/// A batch with one piece of 70 datagrams of 900 bytes and one of 17, as the kernel would join them.
fn joined(a: &UdpSocket, b: &UdpSocket) -> Batch {
    let mut batch = Batch::default();
    let bytes: Vec<u8> = (0..63_017_u32).map(|n| (n / 900) as u8).collect();
    a.send(&bytes).unwrap();
    batch.receive::<1>(b.as_fd()).unwrap();
    batch.piece_mut(0).segment = 900;
    assert_eq!(batch.pieces()[0].datagrams(), 71);
    batch
}

fn received(socket: &UdpSocket) -> Vec<(usize, u8)> {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| {
        let len = socket.recv(&mut buffer).ok()?;
        assert!(buffer[..len].iter().all(|byte| *byte == buffer[0]));
        Some((len, buffer[0]))
    })
    .collect()
}

fn expected() -> Vec<(usize, u8)> {
    (0..70).map(|n| (900, n)).chain([(17, 70)]).collect()
}

#[test]
fn a_piece_is_cut_here_where_the_kernel_does_not() {
    let (a, b) = pair();
    let batch = joined(&a, &b);
    let mut offload = Offload { cuts: false, ..Offload::default() };
    assert_eq!(batch.send(b.as_fd(), 0..1, To::Connected, &mut offload), (1, None));
    assert_eq!(received(&a), expected());
    assert_eq!((offload.cut, offload.refusals), (0, 0));
}

/// 71 datagrams are more than the kernels before 6.9 cut at once, and no piece may have longer
/// datagrams than the way takes: both are cut here then.
#[test]
fn a_piece_that_the_kernel_refuses_is_cut_here() {
    let (a, b) = pair();
    let mut batch = joined(&a, &b);
    let mut offload = Offload { cuts: can_cut(b.as_fd()), ..Offload::default() };
    assert_eq!(batch.send(b.as_fd(), 0..1, To::Connected, &mut offload), (1, None));
    assert_eq!(received(&a), expected());
    // Far more than any kernel cuts.
    batch.piece_mut(0).segment = 100;
    batch.piece_mut(0).len = 20_000;
    let cut = offload.cut;
    assert_eq!(batch.send(b.as_fd(), 0..1, To::Connected, &mut offload), (1, None));
    assert_eq!(received(&a).iter().map(|(len, _)| len).sum::<usize>(), 20_000);
    assert_eq!(offload.cut, cut);
    assert!(offload.cuts, "a refusal of one piece is no refusal of all");
}

#[test]
fn the_kernel_joins_and_cuts() {
    let (a, b) = pair();
    if join(b.as_fd()).is_err() || !can_cut(a.as_fd()) {
        return;
    }
    let mut batch = joined(&a, &b);
    batch.piece_mut(0).len = 900 * 40 + 17;
    let mut offload = Offload { cuts: true, ..Offload::default() };
    // Back to where datagrams are joined: over the loopback they stay in one piece.
    assert_eq!(batch.send(a.as_fd(), 0..1, To::Connected, &mut offload), (1, None));
    assert_eq!((offload.cut, offload.refusals), (1, 0));
    let mut again = Batch::default();
    again.receive::<CAPACITY>(b.as_fd()).unwrap();
    assert_eq!(again.pieces().iter().map(Piece::datagrams).sum::<u64>(), 41);
    assert!(again.pieces()[0].segment == 900, "{:?}", again.pieces());
    let bytes: Vec<u8> = (0..again.pieces().len()).flat_map(|n| again.bytes(n).to_vec()).collect();
    assert!(bytes == batch.bytes(0), "the same bytes");
}

#[test]
fn an_error_is_about_the_piece_behind_those_that_were_sent() {
    let (a, b) = pair();
    let mut batch = Batch::default();
    for _ in 0..3 {
        a.send(b"x").unwrap();
    }
    batch.receive::<CAPACITY>(b.as_fd()).unwrap();
    // Nobody can be sent something at port 0.
    batch.piece_mut(1).peer.set_port(0);
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut offload = Offload::default();
    assert_eq!(batch.send(own.as_fd(), 0..3, To::Peer, &mut offload), (1, Some(Errno::INVAL)));
    assert_eq!(batch.send(own.as_fd(), 2..3, To::Peer, &mut offload), (1, None));
}

/// What a client sent, as a batch to be sent back.
fn sent(a: &UdpSocket, b: &UdpSocket, lengths: &[usize]) -> Batch {
    for (number, length) in (0..).zip(lengths) {
        a.send(&vec![number; *length]).unwrap();
    }
    let mut batch = Batch::default();
    batch.receive::<CAPACITY>(b.as_fd()).unwrap();
    assert_eq!(batch.pieces().iter().map(|piece| piece.len).collect::<Vec<_>>(), lengths);
    batch
}

#[test]
fn datagrams_of_one_length_go_as_a_piece() {
    let (a, b) = pair();
    assert!(can_cut(b.as_fd()), "UDP_SEGMENT is in every kernel since 4.18");
    let all = [100, 100, 100, 200, 200, 100, 0, 0, 1452, 1452, 1453, 1453];
    let batch = sent(&a, &b, &all);
    for to in [To::Connected, To::Peer] {
        let mut offload = Offload { cuts: true, ..Offload::default() };
        assert_eq!(batch.send(b.as_fd(), 0..all.len(), to, &mut offload), (all.len(), None));
        // Empty ones cannot be told apart in a piece, and long ones may be longer than a packet.
        assert_eq!((offload.cut, offload.refusals), (3, 0));
        let mut buffer = [0; 2048];
        for (number, length) in (0..).zip(all) {
            assert_eq!(a.recv(&mut buffer).unwrap(), length);
            assert!(buffer[..length].iter().all(|byte| *byte == number));
        }
        assert!(a.recv(&mut buffer).is_err());
    }
}

#[test]
fn datagrams_for_two_are_in_no_group() {
    let [a, b, c] = [0, 1, 2].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&a, &b, &c] {
        socket.set_nonblocking(true).unwrap();
    }
    for (socket, byte) in [(&a, 1), (&a, 2), (&c, 3), (&c, 4), (&a, 5)] {
        socket.send_to(&[byte; 64], b.local_addr().unwrap()).unwrap();
    }
    let (mut batch, mut offload) =
        (Batch::default(), Offload { cuts: can_cut(b.as_fd()), ..Offload::default() });
    batch.receive::<CAPACITY>(b.as_fd()).unwrap();
    assert_eq!(batch.send(b.as_fd(), 0..5, To::Peer, &mut offload), (5, None));
    for (socket, bytes) in [(&a, &[1, 2, 5][..]), (&c, &[3, 4])] {
        assert_eq!(received(socket), bytes.iter().map(|byte| (64, *byte)).collect::<Vec<_>>());
    }
}

/// A socket without checksums stands for a device without them: nothing that has to be cut goes there.
#[test]
fn where_the_way_takes_no_group_datagrams_go_one_by_one() {
    let (a, b) = pair();
    assert!(can_cut(b.as_fd()), "UDP_SEGMENT is in every kernel since 4.18");
    set(b.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let batch = sent(&a, &b, &[100; 8]);
    let mut offload = Offload { cuts: true, ..Offload::default() };
    for _ in 0..2 {
        assert_eq!(batch.send(b.as_fd(), 0..8, To::Connected, &mut offload), (8, None));
        assert_eq!(received(&a), (0..8).map(|number| (100, number)).collect::<Vec<_>>());
        // It is not tried again at once.
        assert_eq!((offload.cut, offload.refusals), (0, 1));
    }
    set(b.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 0).unwrap();
    for _ in 0..REST {
        let _ = batch.send(b.as_fd(), 0..8, To::Connected, &mut offload);
        received(&a);
    }
    assert!(offload.cut > 0, "{offload:?}");
}
