use super::*;

fn own(interface: u32, address: &str) -> Own {
    Own { interface, address: address.parse().unwrap(), lasting: true }
}

fn look(own: &[Own], local: &str, peer: &str) -> Surroundings {
    surroundings(own, local.parse().unwrap(), peer.parse().unwrap())
}

fn hops(ipv4: Option<&str>, ipv6: Option<&str>) -> NextHops {
    NextHops { ipv4: ipv4.map(|a| a.parse().unwrap()), ipv6: ipv6.map(|a| a.parse().unwrap()) }
}

#[test]
fn the_other_family_comes_from_the_same_interface_and_global_before_link_local() {
    let node = [
        own(1, "127.0.0.1/8"),
        own(1, "2001:db8::1/128"),
        own(2, "10.9.0.2/24"),
        own(2, "fe80::2/64"),
        own(2, "fd09::2/64"),
        own(3, "fd03::2/64"),
    ];
    let found = look(&node, "10.9.0.2", "10.9.0.1");
    assert_eq!(found.next_hops, hops(Some("10.9.0.2"), Some("fd09::2")));
    let found = look(&node[..4], "10.9.0.2", "10.9.0.1");
    assert_eq!(found.next_hops, hops(Some("10.9.0.2"), Some("fe80::2")));
    let found = look(&node, "fe80::2", "fe80::1");
    assert_eq!(found.next_hops, hops(Some("10.9.0.2"), Some("fe80::2")));
    let found = look(&node, "fd03::2", "fd03::1");
    assert_eq!(found.next_hops, hops(None, Some("fd03::2")));
}

#[test]
fn an_address_that_is_about_to_go_is_no_next_hop() {
    let mut node = [own(2, "10.9.0.2/24"), own(2, "fd09::2/64")];
    node[1].lasting = false;
    assert_eq!(look(&node, "10.9.0.2", "10.9.0.1").next_hops, hops(Some("10.9.0.2"), None));
}

#[test]
fn a_peer_is_on_the_link_if_an_address_of_the_interface_says_so() {
    let node = [own(2, "10.9.0.2/24"), own(2, "10.8.0.2/24"), own(3, "10.7.0.2/24")];
    assert!(look(&node, "10.9.0.2", "10.9.0.1").on_link);
    assert!(look(&node, "10.9.0.2", "10.8.0.1").on_link);
    assert!(!look(&node, "10.9.0.2", "10.7.0.1").on_link);
    assert!(!look(&node, "10.9.0.2", "192.0.2.1").on_link);
    assert!(look(&node, "fe80::2", "fe80::1").on_link);
}

/// VRFs may have the same addresses.
#[test]
fn a_device_has_its_own_addresses_and_a_vrf_those_of_its_members() {
    let link = |index, name: &str, master: Option<u32>| {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.extend(master.map(LinkAttribute::Controller));
        message
    };
    let links = [
        link(2, "eth0", None),
        link(3, "eth1", Some(5)),
        link(4, "eth2", Some(5)),
        link(5, "red", None),
    ];
    assert_eq!(within("eth0", &links), [2]);
    assert_eq!(within("red", &links), [5, 3, 4]);
    assert_eq!(within("blue", &links), [0; 0]);
}
