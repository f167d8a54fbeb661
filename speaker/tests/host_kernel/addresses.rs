//! VIPs on `lo`: how they look, that they are no source, how they end.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use vipgate_speaker::host::{Exposures, Host, HostError, LIFETIME, RENEWAL, VipOutcomes};

use crate::netns::{Netns, Running, eventually};
use crate::{exposing, hold, ip, set};

const VIP: &str = "203.0.113.10";
const VIP6: &str = "2001:db8::10";

#[test]
fn a_vip_has_the_promised_flags_and_is_renewed() {
    let netns = Netns::new();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, VIP6]).await;
        // Longer than the lifetime: only a renewed address is still there.
        let end = Instant::now() + LIFETIME + Duration::from_secs(2);
        while Instant::now() < end {
            let v4 = netns.on_lo(ip(VIP)).expect("it is renewed before it ends");
            assert_eq!(v4["prefixlen"], 32);
            assert_eq!(v4["scope"], "link");
            assert_eq!(v4["noprefixroute"], true);
            let left = v4["valid_life_time"].as_u64().unwrap();
            assert!((2..=6).contains(&left), "{left} s left");
            let v6 = netns.on_lo(ip(VIP6)).expect("it is renewed before it ends");
            assert_eq!(v6["prefixlen"], 128);
            assert_eq!(v6["noprefixroute"], true);
            assert_eq!(v6["nodad"], true);
            assert_eq!(v6["deprecated"], true);
            assert_eq!(v6["preferred_life_time"], 0);
            assert_eq!(v6.get("tentative"), None);
            let left = v6["valid_life_time"].as_u64().unwrap();
            assert!((2..=6).contains(&left), "{left} s left");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_vip_receives() {
    let (node, client) = Netns::pair();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        let listener = TcpListener::bind("0.0.0.0:80").unwrap();
        let served = Exposures::from([exposing("10.9.0.100", &[(80, 80)])]);
        assert_eq!(host.set_vips(served).await, VipOutcomes::from([(ip("10.9.0.100"), Ok(()))]));
        // The kernel is silent about it, so the client needs to be told whose it is.
        client.knows("10.9.0.100", &node);
        let peer = client.inside(async || {
            let stream = TcpStream::connect("10.9.0.100:80").unwrap();
            stream.local_addr().unwrap()
        });
        assert_eq!(listener.accept().unwrap().1, peer);
        host.shutdown().await.unwrap();
    });
}

/// With and without an address on the outgoing link: there a kernel takes one of any other link.
#[test]
fn a_vip_is_never_a_source() {
    let (node, peer) = Netns::pair();
    node.run("ip link add name bare type bridge");
    node.run("ip link set bare up");
    node.run("ip route add 198.51.100.0/24 dev bare");
    node.run("ip -6 addr add 2001:db8:9::1/64 dev veth0 nodad");
    node.run("ip -6 route add default dev veth0");
    let source = |target: &str| {
        let shown = node.run(&format!("ip -j route get {target}"));
        let routes: serde_json::Value = serde_json::from_str(&shown).unwrap();
        routes[0]["prefsrc"].as_str().map(str::to_owned)
    };
    node.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &["10.9.0.100", VIP6]).await;
        assert_eq!(source("10.9.0.2").as_deref(), Some("10.9.0.1"));
        assert_eq!(source("2001:db8:77::1").as_deref(), Some("2001:db8:9::1"));
        assert_ne!(source("198.51.100.1").as_deref(), Some("10.9.0.100"));
        let listener = peer.inside(async || TcpListener::bind("10.9.0.2:80").unwrap());
        let stream = TcpStream::connect("10.9.0.2:80").unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), ip("10.9.0.1"));
        drop(listener);
        // Still so when the VIP is the only address there is.
        node.run("ip addr flush dev veth0");
        assert_eq!(source("198.51.100.1"), None);
        // Control: the same address with global scope is taken.
        node.run("ip addr add 203.0.113.99/32 dev lo");
        assert_eq!(source("198.51.100.1").as_deref(), Some("203.0.113.99"));
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_released_vip_goes_at_once_and_the_others_stay() {
    let netns = Netns::new();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, "203.0.113.11", VIP6]).await;
        hold(&host, &["203.0.113.11"]).await;
        assert!(netns.on_lo(ip(VIP)).is_none());
        assert!(netns.on_lo(ip(VIP6)).is_none());
        assert!(netns.on_lo(ip("203.0.113.11")).is_some());
        hold(&host, &[]).await;
        assert!(netns.on_lo(ip("203.0.113.11")).is_none());
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_clean_exit_leaves_nothing() {
    let netns = Netns::new();
    let before = (netns.run("ip -o addr"), netns.run("nft list ruleset"));
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, VIP6]).await;
        assert_ne!(netns.run("ip -o addr"), before.0);
        assert_ne!(netns.run("nft list ruleset"), before.1);
        host.shutdown().await.unwrap();
    });
    assert_eq!((netns.run("ip -o addr"), netns.run("nft list ruleset")), before);
}

#[test]
fn a_dropped_handle_leaves_nothing_either() {
    let netns = Netns::new();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP]).await;
        drop(host);
        eventually("address and table are gone", Duration::from_secs(2), || {
            netns.on_lo(ip(VIP)).is_none() && netns.run("nft list ruleset").is_empty()
        });
    });
}

#[test]
fn a_deleted_vip_is_back_within_100_ms() {
    let netns = Netns::new();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP, VIP6]).await;
        let mut times = Vec::new();
        for (vip, prefix) in [(VIP, 32), (VIP6, 128), (VIP, 32)] {
            // Succeeds only if the address was there.
            netns.run(&format!("ip addr del {vip}/{prefix} dev lo"));
            let start = Instant::now();
            eventually("it can be bound again", Duration::from_secs(1), || {
                UdpSocket::bind((ip(vip), 0)).is_ok()
            });
            times.push(start.elapsed());
        }
        times.sort();
        eprintln!("put back after {times:?}");
        // The median: the machine may be busy with other tests once.
        assert!(times[1] < Duration::from_millis(100), "{times:?}");
        host.shutdown().await.unwrap();
    });
}

#[test]
fn fifty_vips_deleted_at_once_are_back_within_100_ms() {
    let netns = Netns::new();
    let vips: Vec<String> = (1..=50).map(|n| format!("203.0.113.{n}")).collect();
    let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
    let deletions: String = vips.iter().map(|vip| format!("addr del {vip}/32 dev lo\n")).collect();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &vips).await;
        let mut times = Vec::new();
        for _ in 0..3 {
            // Succeeds only if all were there.
            netns.ip_batch(&deletions);
            let start = Instant::now();
            eventually("all can be bound again", Duration::from_secs(1), || {
                vips.iter().all(|vip| UdpSocket::bind((ip(vip), 0)).is_ok())
            });
            times.push(start.elapsed());
        }
        times.sort();
        eprintln!("50 VIPs put back after {times:?}");
        assert!(times[1] < Duration::from_millis(100), "{times:?}");
        host.shutdown().await.unwrap();
    });
}

/// A program that deletes in a loop is not fought at full speed, and does not win either.
#[test]
fn endless_deletion_is_repaired_at_the_pace_of_renewal() {
    let netns = Netns::new();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &[VIP]).await;
        let (start, mut deleted) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(4) {
            deleted += u32::from(netns.succeeds(&format!("ip addr del {VIP}/32 dev lo")));
            std::thread::sleep(Duration::from_millis(5));
        }
        // Twelve at once, and one at each renewal.
        assert!((13..=17).contains(&deleted), "deleted {deleted} times");
        eventually("it is back", Duration::from_secs(3), || netns.on_lo(ip(VIP)).is_some());
        host.shutdown().await.unwrap();
    });
}

#[test]
fn an_address_of_the_host_is_refused_and_taken_once_it_is_free() {
    let (node, _peer) = Netns::pair();
    node.inside(async || {
        let host = Host::start().await.unwrap();
        let outcomes = host.set_vips(set(&["10.9.0.1", VIP])).await;
        let in_use = HostError::InUse { ip: ip("10.9.0.1"), link: "veth0".to_owned() };
        assert!(in_use.to_string().contains("veth0"), "{in_use}");
        assert_eq!(outcomes[&ip("10.9.0.1")], Err(in_use));
        assert_eq!(outcomes[&ip(VIP)], Ok(()));
        assert!(node.on_lo(ip("10.9.0.1")).is_none());

        let mut vips = host.vips();
        vips.mark_unchanged();
        node.run("ip addr del 10.9.0.1/24 dev veth0");
        tokio::time::timeout(Duration::from_secs(3), vips.changed()).await.unwrap().unwrap();
        assert_eq!(vips.borrow()[&ip("10.9.0.1")], Ok(()));
        assert!(node.on_lo(ip("10.9.0.1")).is_some());
        host.shutdown().await.unwrap();
    });
}

#[test]
fn a_vip_is_not_served_on_a_loopback_that_is_down() {
    let netns = Netns::new();
    netns.inside(async || {
        netns.run("ip link set lo down");
        let host = Host::start().await.unwrap();
        let outcomes = host.set_vips(set(&[VIP])).await;
        assert_eq!(outcomes[&ip(VIP)], Err(HostError::LoopbackDown));
        netns.run("ip link set lo up");
        eventually("it comes up by itself", Duration::from_secs(3), || {
            netns.on_lo(ip(VIP)).is_some()
        });
        host.shutdown().await.unwrap();
    });
}

/// Started by the tests below as a process of its own, to be killed.
#[test]
#[ignore = "a child process of other tests"]
fn hold_until_killed() {
    let vips = std::env::var("VIPGATE_TEST_VIPS").expect("started by another test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::start().await.unwrap();
        hold(&host, &vips.split(',').collect::<Vec<_>>()).await;
        println!("\nholding");
        std::future::pending::<()>().await;
    });
}

/// A process inside `netns` that has the VIPs and dies by SIGKILL when dropped.
fn holder(netns: &Netns, vips: &str) -> Running {
    let mut holder =
        netns.spawn_test("addresses::hold_until_killed", &[("VIPGATE_TEST_VIPS", vips)]);
    assert!(holder.lines().iter().any(|line| line == "holding"));
    holder
}

#[test]
fn the_kernel_drops_the_vips_of_a_killed_process() {
    let netns = Netns::new();
    let holder = holder(&netns, &format!("{VIP},{VIP6}"));
    drop(holder);
    let start = Instant::now();
    assert!(netns.on_lo(ip(VIP)).is_some());
    // It is silent meanwhile.
    assert!(netns.run("nft list set arp vipgate vips").contains(VIP));
    eventually("both are gone", Duration::from_secs(7), || {
        netns.on_lo(ip(VIP)).is_none() && netns.on_lo(ip(VIP6)).is_none()
    });
    // A renewal was at most 1.5 s old.
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_start_removes_what_an_earlier_run_left_and_nothing_else() {
    let netns = Netns::new();
    netns.run("ip addr add 192.0.2.99/32 dev lo");
    // Looks like ours but for the tag.
    netns.run(
        "ip addr add 192.0.2.98/32 dev lo scope link noprefixroute valid_lft 6 preferred_lft 6",
    );
    drop(holder(&netns, &format!("{VIP},203.0.113.11,{VIP6}")));
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        hold(&host, &["203.0.113.11", "203.0.113.12"]).await;
        let there: BTreeSet<_> = netns.addresses("lo").iter().map(local).collect();
        let vips = ["203.0.113.11", "203.0.113.12"];
        let others = ["127.0.0.1", "::1", "192.0.2.99", "192.0.2.98"];
        assert_eq!(there, others.into_iter().chain(vips).map(ip).collect());
        let silent = netns.run("nft list set arp vipgate vips");
        assert!(!silent.contains(VIP) && silent.contains("203.0.113.11, 203.0.113.12"), "{silent}");
        host.shutdown().await.unwrap();
        assert!(netns.on_lo(ip("192.0.2.99")).is_some());
    });
}

#[test]
fn a_start_without_vips_removes_the_table_of_a_dead_run_but_not_of_a_living_one() {
    let netns = Netns::new();
    let table = || netns.succeeds("nft list table arp vipgate");
    let living = holder(&netns, VIP);
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        tokio::time::sleep(LIFETIME + 2 * RENEWAL).await;
        assert!(table(), "it belongs to a process that lives");
        drop(living);
        assert!(table(), "the address is still there, and the kernel has to be silent about it");
        eventually("the table goes after the address", LIFETIME + 3 * RENEWAL, || !table());
        assert!(netns.on_lo(ip(VIP)).is_none());
        host.shutdown().await.unwrap();
    });
}

fn local(entry: &serde_json::Value) -> IpAddr {
    ip(entry["local"].as_str().unwrap())
}

#[test]
fn thousands_of_vips_fit() {
    let netns = Netns::new();
    let vips: Vec<String> =
        (0..3000).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    let vips: Vec<&str> = vips.iter().map(String::as_str).collect();
    netns.inside(async || {
        let host = Host::start().await.unwrap();
        let start = Instant::now();
        hold(&host, &vips).await;
        eprintln!("3000 VIPs in {:?}", start.elapsed());
        assert_eq!(netns.addresses("lo").len(), 3000 + 2);
        assert_eq!(netns.run("nft list set arp vipgate vips").matches("198.18.").count(), 3000);
        // The handle changes when the table is made anew; our own change is no reason to do that.
        let handle = netns.run("nft -a -j list tables");
        tokio::time::sleep(2 * RENEWAL).await;
        assert_eq!(netns.run("nft -a -j list tables"), handle);
        let start = Instant::now();
        hold(&host, &vips[2998..]).await;
        eprintln!("2998 released in {:?}", start.elapsed());
        assert_eq!(netns.addresses("lo").len(), 2 + 2);
        assert_eq!(netns.run("nft list set arp vipgate vips").matches("198.18.").count(), 2);
        host.shutdown().await.unwrap();
    });
}
