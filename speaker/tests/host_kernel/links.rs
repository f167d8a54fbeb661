//! What the host publishes about links, event by event.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;
use vipgate_planner::{Link, MacAddr};
use vipgate_speaker::host::Host;

use crate::netns::{Netns, eventually};
use crate::{hold, ip};

/// Waits until the link `name` is as `check` wants it, and returns it.
async fn until(
    links: &mut watch::Receiver<Vec<Link>>,
    what: &str,
    check: impl Fn(Option<&Link>) -> bool,
    name: &str,
) -> Option<Link> {
    let find = |links: &[Link]| links.iter().find(|link| link.name == name).cloned();
    let wait = links.wait_for(|links| check(find(links).as_ref()));
    match tokio::time::timeout(Duration::from_secs(5), wait).await {
        Ok(links) => find(&links.expect("the host runs")),
        Err(_) => panic!("{what}: not seen"),
    }
}

fn ipv4(link: &Link) -> Vec<String> {
    nets(link).into_iter().filter(|net| net.contains('.')).collect()
}

fn nets(link: &Link) -> Vec<String> {
    link.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn links_follow_the_kernel() {
    let netns = Netns::new();
    netns.run("ip link add early type veth peer name earlier");
    netns.run("ip link set earlier up");
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        let first = links.borrow_and_update().clone();
        let names: Vec<_> = first.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo", "earlier", "early"]);
        assert!(first[0].loopback && first[0].up && first[0].mac.is_none());
        assert_eq!(nets(&first[0]), ["127.0.0.1/8", "::1/128"]);
        assert!(!first[1].up, "admin up, but the other end is down");

        netns.run("ip link set early up");
        until(&mut links, "carrier", |link| link.is_some_and(|link| link.up), "earlier").await;
        netns.run("ip link set early down");
        until(&mut links, "no carrier", |link| link.is_some_and(|link| !link.up), "earlier").await;

        netns.run("ip link set early address 02:00:00:00:00:77");
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 0x77]));
        until(&mut links, "new MAC", |link| link.is_some_and(|link| link.mac == mac), "early")
            .await;

        netns.run("ip link set early name renamed");
        until(&mut links, "new name", |link| link.is_some(), "renamed").await;
        until(&mut links, "old name gone", |link| link.is_none(), "early").await;

        netns.run("ip link add late type veth peer name later");
        until(&mut links, "new link", |link| link.is_some_and(|link| link.mac.is_some()), "late")
            .await;
        netns.run("ip link del late");
        until(&mut links, "removed link", |link| link.is_none(), "late").await;
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_still_a_link() {
    let netns = Netns::new();
    netns.run("ip link add name bridge0 type bridge");
    netns.run("ip link add port type veth peer name other");
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        netns.run("ip link set port master bridge0");
        netns.run("ip link set port nomaster");
        // A change after it, so that the events before it were all seen.
        netns.run("ip link set bridge0 address 02:00:00:00:00:01");
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        until(&mut links, "marker", |link| link.is_some_and(|link| link.mac == mac), "bridge0")
            .await;
        assert!(links.borrow().iter().any(|link| link.name == "port"));
        host.shutdown().await.unwrap();
    });
}

#[test]
fn addresses_are_listed_primary_first_and_without_vips() {
    let (node, _peer) = Netns::pair();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        node.run("ip addr add 10.9.0.7/24 dev veth0");
        node.run("ip addr add 10.10.0.7/24 dev veth0");
        let v4 = |link: Option<&Link>, expected: &[&str]| {
            link.is_some_and(|link| ipv4(link) == expected)
        };
        let all = ["10.9.0.1/24", "10.10.0.7/24", "10.9.0.7/24"];
        until(&mut links, "three, the secondary last", |link| v4(link, &all), "veth0").await;
        node.run("ip addr del 10.10.0.7/24 dev veth0");
        until(&mut links, "two", |link| v4(link, &["10.9.0.1/24", "10.9.0.7/24"]), "veth0").await;

        node.run("ip addr add 192.0.2.99/32 dev lo");
        let lo = ["127.0.0.1/8", "192.0.2.99/32"];
        until(&mut links, "foreign address on lo", |link| v4(link, &lo), "lo").await;
        hold(&host, &["10.9.0.100", "2001:db8::1"]).await;
        node.run("ip addr add 10.11.0.1/24 dev veth0");
        let more = ["10.9.0.1/24", "10.11.0.1/24", "10.9.0.7/24"];
        until(&mut links, "marker", |link| v4(link, &more), "veth0").await;
        until(&mut links, "no VIPs", |link| v4(link, &lo), "lo").await;
        host.shutdown().await.unwrap();
    });
}

#[test]
fn renewals_and_vips_are_no_change_of_links() {
    let (node, _peer) = Netns::pair();
    // Duplicate address detection of the link-local address ends.
    node.run("sysctl -q -w net.ipv6.conf.veth0.disable_ipv6=1");
    node.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        tokio::time::sleep(Duration::from_millis(200)).await;
        links.mark_unchanged();
        hold(&host, &["10.9.0.100", "10.9.0.101"]).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        hold(&host, &["10.9.0.101"]).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!links.has_changed().unwrap());
        host.shutdown().await.unwrap();
    });
}

/// Started by the next test as a process of its own, to be stopped and continued.
#[test]
#[ignore = "a child process of another test"]
fn print_links_until_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::start().await.unwrap();
        hold(&host, &["203.0.113.10"]).await;
        let mut links = host.links();
        loop {
            let veth = links.borrow_and_update().iter().find(|link| link.name == "veth0").cloned();
            println!("\nveth0 {}", ipv4(&veth.unwrap()).join(" "));
            links.changed().await.unwrap();
        }
    });
}

/// While the process stands still, a thousand changes overrun its event socket; more would take longer
/// than a VIP lives on a busy machine. What was added before the gap and deleted in it must not stay in
/// the table.
#[test]
fn an_overrun_ends_in_the_right_state() {
    let (node, _peer) = Netns::pair();
    node.run("sysctl -q -w net.ipv6.conf.veth0.disable_ipv6=1");
    let mut child = node.spawn_test("links::print_links_until_killed", &[]);
    let lines = child.lines();
    let wait_for = |expected: &str| {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut last = String::new();
        while last != expected {
            let left = deadline.saturating_duration_since(Instant::now());
            last = lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("not seen: {expected}; last: {:.200}", last));
        }
    };
    wait_for("veth0 10.9.0.1/24");

    let each = |verb: &str| -> String {
        let line = |n| format!("addr {verb} 10.{}.{}.1/32 dev veth0\n", 100 + n / 250, n % 250);
        (0..500).map(line).collect()
    };
    let after = "addr del 203.0.113.10/32 dev lo\naddr add 10.99.0.1/32 dev veth0\n";
    let changes = each("add") + &each("del") + after;
    child.signal(Signal::STOP);
    node.ip_batch(&changes);
    // The column Drops.
    let sockets = node.run("cat /proc/net/netlink");
    let drops =
        sockets.lines().filter_map(|line| line.split_whitespace().nth(8)?.parse::<u64>().ok());
    assert!(drops.sum::<u64>() > 0, "nothing was lost:\n{sockets}");
    child.signal(Signal::CONT);
    wait_for("veth0 10.9.0.1/24 10.99.0.1/32");
    // A deletion that was lost in the gap is repaired too.
    eventually("the VIP is back", Duration::from_millis(500), || {
        node.on_lo(ip("203.0.113.10")).is_some()
    });
    // Nothing stale comes after it.
    assert_eq!(lines.recv_timeout(Duration::from_secs(1)), Err(RecvTimeoutError::Timeout));
}
