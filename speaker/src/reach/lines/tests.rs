use super::*;
use crate::reach::roster::Target;

fn link(index: u32, name: &str, addresses: &[&str]) -> Link {
    Link {
        index,
        name: name.to_owned(),
        up: true,
        loopback: false,
        mac: Some(MacAddr([2; 6])),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

/// The loopback, as if it were a link with a station: every address in 127.0.0.0/8 can be bound.
fn lo(addresses: &[&str]) -> Link {
    link(1, "lo", addresses)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn roster(vips: &[&str]) -> Roster {
    let target = || Target {
        owner: "192.0.2.2:7946".to_owned(),
        name: "b".to_owned(),
        macs: [].into(),
        links: vec!["lo".to_owned()],
        ports: vec![80],
    };
    vips.iter().map(|vip| (ip(vip), target())).collect()
}

fn places(lines: &Lines) -> Vec<String> {
    lines.0.keys().map(|(_, address)| address.to_string()).collect()
}

/// Opens one. That takes CAP_NET_RAW, which tests have: of root, or in namespaces of their own.
fn toward(lines: &mut Lines, link: &Link, vip: &str) -> (Place, (MacAddr, IpAddr, u16)) {
    lines.toward(link, ip(vip)).unwrap()
}

#[test]
fn it_is_asked_from_an_address_of_the_same_network() {
    let link = link(2, "eth0", &["10.0.0.1/24", "10.77.0.1/16", "fd77::1/64", "fe80::1/64"]);
    let from = |vip: &str| source(&link, ip(vip)).map(|ip| ip.to_string());
    assert_eq!(from("10.77.0.200").as_deref(), Some("10.77.0.1"));
    assert_eq!(from("fd77::200").as_deref(), Some("fd77::1"));
    assert_eq!(from("192.0.2.1"), None);
}

#[tokio::test]
async fn two_networks_on_one_link_have_a_line_each() {
    let lo = lo(&["127.1.0.1/16", "127.2.0.1/16"]);
    let mut lines = Lines::default();
    let one = toward(&mut lines, &lo, "127.1.0.200");
    let two = toward(&mut lines, &lo, "127.2.0.200");
    assert_eq!((one.1.1, two.1.1), (ip("127.1.0.1"), ip("127.2.0.1")));
    for _ in 0..2 {
        // A port that stays is a socket that stays: another one would be bound beside it.
        assert_eq!(toward(&mut lines, &lo, "127.1.0.201"), one);
        assert_eq!(toward(&mut lines, &lo, "127.2.0.201"), two);
    }
    lines.keep(std::slice::from_ref(&lo), &roster(&["127.1.0.200", "127.2.0.200"]));
    assert_eq!(lines.get(&one.0).map(Line::port), Some(one.1.2));
    assert_eq!(lines.get(&two.0).map(Line::port), Some(two.1.2));
}

#[tokio::test]
async fn what_is_gone_or_asks_for_nobody_is_closed() {
    let both = lo(&["127.1.0.1/16", "127.2.0.1/16"]);
    let vips = roster(&["127.1.0.200", "127.2.0.200"]);
    let opened = || {
        let mut lines = Lines::default();
        toward(&mut lines, &both, "127.1.0.200");
        toward(&mut lines, &both, "127.2.0.200");
        lines
    };
    let mut lines = opened();
    lines.keep(&[lo(&["127.2.0.1/16"])], &vips);
    assert_eq!(places(&lines), ["127.2.0.1"], "an address is gone");
    let mut lines = opened();
    lines.keep(std::slice::from_ref(&both), &roster(&["127.1.0.200"]));
    assert_eq!(places(&lines), ["127.1.0.1"], "nobody is asked for from there");
    let mut lines = opened();
    lines.keep(&[Link { mac: Some(MacAddr([4; 6])), ..both.clone() }], &vips);
    assert_eq!(places(&lines), [""; 0], "the link is another one");
}
