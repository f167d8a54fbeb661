//! What a flood of ARP and NDP about other addresses costs: the kernel's filter keeps it away.

mod l2_rig;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use l2_rig::{End, FOREIGN, Lan, PEER_IP, PEER_IP6, SELDOM, Speaker, VIP, VIP6, eventually};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use vipgate_speaker::l2::arp::Arp;
use vipgate_speaker::l2::ndp::Ndp;
use vipgate_speaker::l2::socket::PacketSocket;
use vipgate_speaker::l2::{Counts, Frame, Protocol};

/// Frames a second, of which the speaker may spend [`SHARE`] of a core on.
const RATE: u32 = 100_000;
const SHARE: f64 = 0.05;
const FLOOD: u32 = 3 * RATE;
const CONTROL: u32 = 10_000;
/// No flood goes on longer, however slow the machine is.
const LONGEST: Duration = Duration::from_secs(20);

/// Of this thread, on which the whole speaker runs.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("not negative")
}

/// Sends so many frames about these addresses from the peer, half of each family on a thread of its own,
/// at [`RATE`]; how many it came to, and how long that took.
fn flood(lan: &Lan, count: u32, v4: Ipv4Addr, v6: Ipv6Addr) -> (u32, Duration) {
    let index = lan.link(End::Peer).index;
    let asks = Frame::Arp(Arp { sender_ip: PEER_IP, ..Arp::probe(FOREIGN, v4) }).to_bytes();
    let solicits = Ndp { sender_ip: PEER_IP6, ..Ndp::probe(FOREIGN, v6) };
    let solicits = Frame::Ndp(Ndp { link_address: Some(FOREIGN), ..solicits }).to_bytes();
    let start = Instant::now();
    let send = |protocol, frame: &[u8]| {
        let socket = PacketSocket::open(index, protocol).expect("a packet socket");
        let mut sent = 0;
        while sent < count / 2 && start.elapsed() < LONGEST {
            for _ in 0..RATE / 2_000 {
                sent += u32::from(socket.send(frame).is_ok());
            }
            let due = start + Duration::from_secs(1) * sent / (RATE / 2);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        sent
    };
    let sent = std::thread::scope(|scope| {
        let arp = scope.spawn(|| lan.enter(End::Peer, || send(Protocol::Arp, &asks)));
        let ndp = scope.spawn(|| lan.enter(End::Peer, || send(Protocol::Ndp, &solicits)));
        arp.join().expect("it does not panic") + ndp.join().expect("it does not panic")
    });
    (sent, start.elapsed())
}

#[test]
fn a_hundred_thousand_frames_a_second_for_others_cost_next_to_nothing() {
    let lan = &Lan::with_ipv6();
    let (ready, flooded) = (oneshot::channel(), oneshot::channel());
    let (control, done) = (oneshot::channel(), oneshot::channel());
    let (frames, spent) = std::thread::scope(|scope| {
        let speaker = scope.spawn(move || {
            lan.on(End::Node, async |lan| {
                let speaker = Speaker::new(SELDOM);
                speaker.set_link(lan, End::Node);
                // Scattered, so that the filter has to search.
                let scattered = (0..100_u32).flat_map(|n| {
                    let v6 = VIP6.to_bits() + 7 * u128::from(n);
                    [Ipv4Addr::from(u32::from(VIP) + 7 * n).into(), Ipv6Addr::from(v6).into()]
                });
                let vips: Vec<IpAddr> = scattered.collect();
                speaker.own(&vips);
                eventually("the bursts are out", || speaker.l2.counts().gratuitous == 1_200).await;
                let measure = || (cpu_time(), speaker.l2.counts());
                let before = measure();
                ready.0.send(()).expect("it waits");
                flooded.1.await.expect("it ends");
                let between = measure();
                control.0.send(()).expect("it waits");
                done.1.await.expect("it ends");
                let after = measure();
                speaker.stop().await;
                [before, between, after]
            })
        });
        ready.1.blocking_recv().expect("the speaker runs");
        let others = (Ipv4Addr::new(10, 80, 0, 33), Ipv6Addr::from(VIP6.to_bits() + 3));
        let frames = flood(lan, FLOOD, others.0, others.1);
        flooded.0.send(()).expect("it waits");
        control.1.blocking_recv().expect("the speaker runs");
        flood(lan, CONTROL, VIP, VIP6);
        done.0.send(()).expect("it waits");
        (frames, speaker.join().expect("the speaker does not panic"))
    });
    let [(start, before), (middle, between), (end, after)] = spent;
    let received = |a: &Counts, b: &Counts| b.received - a.received;
    let (sent, took) = frames;
    let share = (middle - start).as_secs_f64() / took.as_secs_f64();
    eprintln!(
        "{sent} frames in {took:?} ({:.0} a second): {:.3} % of a core",
        f64::from(sent) / took.as_secs_f64(),
        100.0 * share
    );
    assert!(sent >= FLOOD / 2, "{sent} frames");
    assert_eq!(received(&before, &between), 0, "none comes through");
    assert!(share <= SHARE, "{share}");

    // The control: what is about a VIP comes through, and as many of those would cost more than that.
    let passed = received(&between, &after);
    assert!(passed > u64::from(CONTROL) / 20, "{passed} frames");
    let each = (end - middle).as_secs_f64() / passed as f64;
    assert!(each * f64::from(RATE) > SHARE, "{each} s for a frame");
}
