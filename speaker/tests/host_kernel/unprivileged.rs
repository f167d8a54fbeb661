//! Without any capability: loopback VIPs and links work, the rest says what is missing.

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use vipgate_speaker::host::{Host, raise_open_files};

use crate::netns::Netns;
use crate::{hold, ip, set};

/// Drops all capabilities of this thread, and so of those that it starts.
fn drop_capabilities() {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .expect("dropping is always allowed");
}

#[test]
fn loopback_vips_need_no_privilege_and_change_nothing() {
    let (node, _peer) = Netns::pair();
    let before = (node.run("ip -o -4 addr"), node.run("nft list ruleset"));
    node.inside(async || {
        drop_capabilities();
        let host = Host::start().await.unwrap();
        assert!(host.links().borrow().iter().any(|link| link.name == "veth0"));
        hold(&host, &["127.0.0.80", "127.1.2.3", "::1"]).await;
        host.shutdown().await.unwrap();
    });
    assert_eq!((node.run("ip -o -4 addr"), node.run("nft list ruleset")), before);
}

#[test]
fn a_missing_privilege_is_named() {
    let netns = Netns::new();
    netns.inside(async || {
        drop_capabilities();
        let host = Host::start().await.unwrap();
        let vips = ["127.0.0.80", "203.0.113.10", "2001:db8::1"];
        let outcomes = host.set_vips(set(&vips)).await;
        assert_eq!(outcomes[&ip("127.0.0.80")], Ok(()));
        for vip in ["203.0.113.10", "2001:db8::1"] {
            let error = outcomes[&ip(vip)].clone().unwrap_err().to_string();
            assert!(error.contains("CAP_NET_ADMIN"), "{error}");
        }
        assert_eq!(*host.vips().borrow(), outcomes);
        host.shutdown().await.unwrap();
    });
}

#[test]
fn the_limit_on_open_files_is_raised() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
    assert_eq!(raise_open_files(), maximum.unwrap_or(u64::MAX));
    assert_eq!(getrlimit(Resource::Nofile).current, maximum);
}
