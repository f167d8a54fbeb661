//! Connections to endpoints that left their backendRef.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::Listener;
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::rig::{
    Backend, apply, assert_reset, at, connect, counters, echo, listener, proxy, share, share_with,
};

const GRACE: Duration = Duration::from_millis(600);

fn graced(bind: SocketAddr, endpoints: &[SocketAddr]) -> Listener {
    let share = share_with(1, endpoints, |settings| settings.close_gone_after = Some(GRACE));
    listener("l", bind, vec![share])
}

fn gone(proxy: &Proxy) -> u64 {
    counters(proxy).resets.get(&ResetReason::EndpointGone).copied().unwrap_or(0)
}

#[test]
fn they_end_when_the_time_is_up_and_no_others_do() {
    let (stays, leaves) =
        (Backend::echo(at("127.39.40.2:9730")), Backend::echo(at("127.39.40.3:9730")));
    let bind = at("127.39.40.1:9730");
    let proxy = proxy();
    apply(&proxy, &[graced(bind, &[leaves.address])]);
    let mut doomed: Vec<_> = (0..6).map(|_| connect(bind)).collect();
    doomed.iter_mut().for_each(|client| echo(client, b"before"));
    apply(&proxy, &[graced(bind, &[stays.address])]);
    let left = Instant::now();
    let mut safe: Vec<_> = (0..6).map(|_| connect(bind)).collect();
    safe.iter_mut().for_each(|client| echo(client, b"safe"));
    doomed.iter_mut().for_each(|client| echo(client, b"for a while"));
    // A change of something else takes nothing back.
    apply(&proxy, &[graced(bind, &[stays.address, at("127.39.40.9:9730")])]);
    for client in &mut doomed {
        assert_reset(client);
    }
    let took = left.elapsed();
    assert!(took >= GRACE - Duration::from_millis(50) && took < 3 * GRACE, "{took:?}");
    assert_eq!(gone(&proxy), 6);
    safe.iter_mut().for_each(|client| echo(client, b"still"));
}

#[test]
fn one_that_comes_back_in_time_keeps_them() {
    let (one, two) = (Backend::echo(at("127.39.41.2:9730")), at("127.39.41.3:9730"));
    let bind = at("127.39.41.1:9730");
    let proxy = proxy();
    apply(&proxy, &[graced(bind, &[one.address])]);
    let mut client = connect(bind);
    echo(&mut client, b"before");
    apply(&proxy, &[graced(bind, &[two])]);
    thread::sleep(GRACE / 3);
    apply(&proxy, &[graced(bind, &[one.address, two])]);
    thread::sleep(2 * GRACE);
    echo(&mut client, b"after");
    // When it leaves again, the time begins anew.
    apply(&proxy, &[graced(bind, &[two])]);
    thread::sleep(GRACE / 2);
    echo(&mut client, b"once more");
    assert_reset(&mut client);
    assert_eq!(gone(&proxy), 1);
}

/// Without the setting they go on, and so they do where it is taken away in time.
#[test]
fn they_are_kept_unless_it_is_asked_for() {
    let (one, two) = (Backend::echo(at("127.39.42.2:9730")), at("127.39.42.3:9730"));
    let bind = at("127.39.42.1:9730");
    let proxy = proxy();
    let kept = |endpoints: &[SocketAddr]| listener("l", bind, vec![share(1, endpoints)]);
    apply(&proxy, &[kept(&[one.address])]);
    let mut never = connect(bind);
    echo(&mut never, b"before");
    apply(&proxy, &[graced(bind, &[one.address])]);
    let mut spared = connect(bind);
    echo(&mut spared, b"before");
    apply(&proxy, &[graced(bind, &[two])]);
    thread::sleep(GRACE / 3);
    // It is still gone, but its backendRef says now that connections are kept.
    apply(&proxy, &[kept(&[two])]);
    thread::sleep(2 * GRACE);
    echo(&mut never, b"after");
    echo(&mut spared, b"after");
    assert_eq!(gone(&proxy), 0);
}

/// With a backendRef that is taken out of its route all its endpoints have left it.
#[test]
fn a_backend_ref_that_goes_takes_its_connections_along() {
    let (one, two) = (Backend::echo(at("127.39.43.2:9730")), Backend::echo(at("127.39.43.3:9730")));
    let bind = at("127.39.43.1:9730");
    let proxy = proxy();
    let first = share_with(1, &[one.address], |s| s.close_gone_after = Some(GRACE));
    let second = share(2, &[two.address]);
    apply(&proxy, &[listener("l", bind, vec![first])]);
    let mut client = connect(bind);
    echo(&mut client, b"before");
    apply(&proxy, &[listener("l", bind, vec![second])]);
    echo(&mut client, b"for a while");
    assert_reset(&mut client);
    assert_eq!(gone(&proxy), 1);
}
