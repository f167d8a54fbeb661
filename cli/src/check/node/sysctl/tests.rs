//! Values of /proc/sys, and what is said of them.

use serde_json::json;

use super::*;
use crate::check::finding::Verdict;
use crate::check::pools::Port;

fn sysctls(values: &[(&str, &str)]) -> Sysctls {
    Sysctls(values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn link(name: &str, address: &str) -> Link {
    super::super::link(name, true, &[address])
}

fn pools(range: &str) -> Vec<Pool> {
    vec![Pool::of_object(&json!({"metadata": {"name": "lan"}, "spec": {"addresses": [range]}}))]
}

#[test]
fn a_strict_filter_is_a_warning_where_there_are_several_ways() {
    let host = [link("eth0", "192.0.2.5/24"), link("eth1", "198.51.100.5/24")];
    let values = |all: &str, eth0: &str| {
        sysctls(&[
            ("net.ipv4.conf.all.rp_filter", all),
            ("net.ipv4.conf.eth0.rp_filter", eth0),
            ("net.ipv4.conf.eth1.rp_filter", "2"),
        ])
    };
    let strict = rp_filter(&values("0", "1"), &host, &[]);
    assert_eq!(strict.verdict, Verdict::Warning);
    assert_eq!(strict.found, "strict (1) on eth0, and there are several ways back");
    let mend = strict.mend.unwrap();
    assert!(mend.contains("sysctl -w net.ipv4.conf.eth0.rp_filter=2`"), "{mend}");
    // The greater of both counts.
    assert_eq!(rp_filter(&values("1", "0"), &host, &[]).verdict, Verdict::Warning);
    assert_eq!(rp_filter(&values("2", "1"), &host, &[]).verdict, Verdict::Ok);
    assert_eq!(rp_filter(&values("0", "1"), &host[..1], &[]).verdict, Verdict::Ok, "one way only");
    let outside = rp_filter(&values("0", "1"), &host[..1], &pools("203.0.113.1"));
    assert!(outside.found.contains("203.0.113.1 is in no subnet"), "{outside:?}");
    assert_eq!(rp_filter(&sysctls(&[]), &host, &[]).verdict, Verdict::NotLookedAt);
}

#[test]
fn a_kernel_that_answers_for_others_is_named() {
    let values = |name: &str, value: &str| {
        let mut values = sysctls(&[
            ("net.ipv4.conf.eth0.arp_ignore", "0"),
            ("net.ipv4.conf.eth0.arp_announce", "0"),
            ("net.ipv4.conf.eth0.proxy_arp", "0"),
            ("net.ipv4.conf.eth0.proxy_arp_pvlan", "0"),
        ]);
        values.0.insert(format!("net.ipv4.conf.{name}"), value.to_owned());
        values
    };
    let host = [link("eth0", "192.0.2.5/24")];
    let verdict = |values: &Sysctls, links: &[Link]| arp(values, links).verdict;
    assert_eq!(verdict(&values("eth0.proxy_arp", "0"), &host), Verdict::Ok);
    assert_eq!(verdict(&values("all.proxy_arp", "1"), &host), Verdict::Warning);
    assert_eq!(verdict(&values("eth0.proxy_arp_pvlan", "1"), &host), Verdict::Error);
    let ipvs = [link("eth0", "192.0.2.5/24"), link("kube-ipvs0", "192.0.2.240/32")];
    let found = arp(&values("eth0.arp_ignore", "1"), &ipvs);
    assert_eq!(found.verdict, Verdict::Error);
    assert!(found.mend.unwrap().contains("strictARP: true"));
    let mut strict = values("eth0.arp_ignore", "1");
    strict.0.insert("net.ipv4.conf.all.arp_announce".to_owned(), "2".to_owned());
    assert_eq!(verdict(&strict, &ipvs), Verdict::Ok);
    assert_eq!(verdict(&sysctls(&[]), &host), Verdict::NotLookedAt);
}

#[test]
fn forwarding_is_needed_where_something_forwards_and_sends_no_redirects() {
    let host = [link("eth0", "192.0.2.5/24")];
    let values = |forward: &str, redirects: &str| {
        sysctls(&[
            ("net.ipv4.ip_forward", forward),
            ("net.ipv4.conf.eth0.send_redirects", "0"),
            ("net.ipv4.conf.all.send_redirects", redirects),
        ])
    };
    let lan = pools("192.0.2.240");
    let verdict = |values: &Sysctls, pools: &[Pool], rewritten| {
        forwarding(values, &host, pools, rewritten).verdict
    };
    assert_eq!(verdict(&values("0", "1"), &lan, false), Verdict::Ok);
    assert_eq!(verdict(&values("0", "1"), &lan, true), Verdict::Warning);
    assert_eq!(verdict(&values("1", "0"), &lan, true), Verdict::Ok);
    assert_eq!(verdict(&values("1", "1"), &lan, true), Verdict::Warning);
    assert_eq!(verdict(&values("1", "1"), &[], true), Verdict::Ok);
    assert_eq!(verdict(&sysctls(&[]), &lan, true), Verdict::NotLookedAt);
}

#[test]
fn ports_of_ours_that_client_sockets_may_get_are_named() {
    let range = |range: &str, reserved: &str| {
        sysctls(&[
            ("net.ipv4.ip_local_port_range", range),
            ("net.ipv4.ip_local_reserved_ports", reserved),
        ])
    };
    let none = Wanted::default();
    assert_eq!(local_ports(&range("32768 60999", ""), &none).verdict, Verdict::Ok);
    assert_eq!(local_ports(&range("50000 60000", ""), &none).verdict, Verdict::Warning, "few");
    let own = local_ports(&range("1024 65535", ""), &none);
    assert_eq!(own.found, "1024-65535 has port 7947 of the group, and 2 in all");
    assert_eq!(own.mend.unwrap(), "`sysctl -w net.ipv4.ip_local_reserved_ports=7947,7473`");
    assert_eq!(local_ports(&range("1024 65535", "7000-7500,7947"), &none).verdict, Verdict::Ok);
    let port = Port { port: 40_000, udp: false, gateway: "Gateway a/b".into() };
    let wanted = Wanted { ports: vec![port], ..Wanted::default() };
    assert!(local_ports(&range("32768 60999", ""), &wanted).found.contains("40000 of Gateway a/b"));
    assert_eq!(local_ports(&sysctls(&[]), &none).verdict, Verdict::NotLookedAt);
}

#[test]
fn the_rest_is_told_apart_too() {
    let one = |name: &str, value: &str| sysctls(&[(name, value)]);
    assert_eq!(nonlocal_bind(&one("net.ipv4.ip_nonlocal_bind", "0")).verdict, Verdict::Ok);
    assert_eq!(nonlocal_bind(&one("net.ipv4.ip_nonlocal_bind", "1")).verdict, Verdict::Warning);
    assert_eq!(nonlocal_bind(&sysctls(&[])).verdict, Verdict::NotLookedAt);

    assert_eq!(backlog(&one("net.core.somaxconn", "4096")).verdict, Verdict::Ok);
    let short =
        backlog(&sysctls(&[("net.core.somaxconn", "128"), ("net.ipv4.tcp_syncookies", "0")]));
    assert_eq!(short.found, "somaxconn is 128, listeners ask for 4096; tcp_syncookies is off");
    assert_eq!(backlog(&sysctls(&[])).verdict, Verdict::NotLookedAt);

    let tracked = |count: &str| {
        let names = ("net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max");
        conntrack(&sysctls(&[(names.0, count), (names.1, "1000")])).verdict
    };
    assert_eq!(["10", "850", "990"].map(tracked), [Verdict::Ok, Verdict::Warning, Verdict::Error]);
    assert_eq!(conntrack(&sysctls(&[])).verdict, Verdict::Ok);
    assert_eq!(
        conntrack(&one("net.netfilter.nf_conntrack_max", "5")).verdict,
        Verdict::NotLookedAt
    );
}

#[test]
fn ipv6_is_missed_only_where_a_pool_has_it() {
    let host = [link("eth0", "2001:db8::5/64")];
    let off = |lo: &str, eth0: &str| {
        sysctls(&[("net.ipv6.conf.lo.disable_ipv6", lo), ("net.ipv6.conf.eth0.disable_ipv6", eth0)])
    };
    let six = pools("2001:db8::240");
    let verdict = |values: &Sysctls, pools: &[Pool]| ipv6(values, &host, pools).verdict;
    assert_eq!(verdict(&off("0", "0"), &six), Verdict::Ok);
    assert_eq!(verdict(&off("1", "0"), &six), Verdict::Error);
    assert_eq!(verdict(&off("0", "1"), &six), Verdict::Warning);
    assert_eq!(verdict(&off("1", "1"), &pools("192.0.2.1")), Verdict::Ok);
    assert_eq!(verdict(&sysctls(&[]), &six), Verdict::Error);
    assert_eq!(verdict(&sysctls(&[]), &[]), Verdict::Ok);
}

#[test]
fn the_values_of_this_host_are_read() {
    let read = Sysctls::read(&[link("lo", "127.0.0.1/8")]);
    assert!(read.number("net.ipv4.ip_forward").is_some(), "{read:?}");
    assert!(read.strongest("lo", "rp_filter").is_some(), "{read:?}");
}
