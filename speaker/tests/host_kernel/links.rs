//! What the host publishes about links, event by event.

use std::time::Duration;

use tokio::sync::watch;
use vipgate_planner::{Link, MacAddr};
use vipgate_speaker::host::Host;

use crate::hold;
use crate::netns::Netns;

/// Waits until the link `name` is as `check` wants it, and returns it.
async fn until(
    links: &mut watch::Receiver<Vec<Link>>,
    what: &str,
    check: impl Fn(Option<&Link>) -> bool,
    name: &str,
) -> Option<Link> {
    let find = |links: &[Link]| links.iter().find(|link| link.name == name).cloned();
    let wait = links.wait_for(|links| check(find(links).as_ref()));
    match tokio::time::timeout(Duration::from_secs(2), wait).await {
        Ok(links) => find(&links.expect("the host runs")),
        Err(_) => panic!("{what}: not seen"),
    }
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
        until(&mut links, "new MAC", |link| link.is_some_and(|link| link.mac == mac), "early").await;

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
    netns.run("ip link add br type bridge");
    netns.run("ip link add port type veth peer name other");
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        netns.run("ip link set port master br");
        netns.run("ip link set port nomaster");
        // A change after it, so that the events before it were all seen.
        netns.run("ip link set br address 02:00:00:00:00:01");
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
        until(&mut links, "marker", |link| link.is_some_and(|link| link.mac == mac), "br").await;
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
            link.is_some_and(|link| {
                let nets = nets(link);
                nets.iter().filter(|net| net.contains('.')).eq(expected)
            })
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

/// Thousands of changes at once may overrun the socket; the end state is right all the same.
#[test]
fn a_storm_of_changes_ends_in_the_right_state() {
    let (node, _peer) = Netns::pair();
    let lines = |verb: &str| -> String {
        let each = (0..4000).map(|n| {
            format!("addr {verb} 10.{}.{}.1/32 dev veth0\n", 100 + n / 250, n % 250)
        });
        each.collect()
    };
    let file = std::env::temp_dir().join(format!("{}.batch", node.name));
    let last = "addr add 10.99.0.1/32 dev veth0\n";
    std::fs::write(&file, lines("add") + &lines("del") + last).unwrap();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        let mut links = host.links();
        node.run(&format!("ip -batch {}", file.display()));
        let settled = |link: Option<&Link>| {
            link.is_some_and(|link| {
                let v4: Vec<_> = nets(link).into_iter().filter(|net| net.contains('.')).collect();
                v4 == ["10.9.0.1/24", "10.99.0.1/32"]
            })
        };
        until(&mut links, "the end state", settled, "veth0").await;
        host.shutdown().await.unwrap();
    });
    std::fs::remove_file(file).unwrap();
}
