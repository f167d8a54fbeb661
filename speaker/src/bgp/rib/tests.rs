use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::*;
use crate::bgp::wire::{Community, Kind, Message, NextHops, decode, frame};

fn encoding() -> Encoding {
    Encoding {
        asn: 65001,
        internal: false,
        as4: true,
        extended_next_hop: false,
        next_hops: NextHops {
            ipv4: Some([10, 9, 0, 2].into()),
            ipv6: Some("fd09::2".parse().unwrap()),
        },
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn tagged(tag: u32) -> Path {
    Path { communities: BTreeSet::from([Community(tag)]), ..Path::default() }
}

fn routes(list: &[(&str, u32)]) -> Routes {
    let mut routes = Routes::default();
    for (prefix, tag) in list {
        routes.add(net(prefix), &tagged(*tag));
    }
    routes
}

fn up(wanted: Routes) -> Rib {
    let mut rib = Rib::default();
    rib.set(wanted.into());
    rib.up(&Family::ALL.into(), encoding());
    rib
}

/// Announced, withdrawn and ends of RIB of each message.
fn seen(messages: &[Vec<u8>]) -> Vec<(u16, u16, Option<Family>)> {
    let read = |message: &Vec<u8>| {
        let frame = frame(message).unwrap().unwrap();
        assert_eq!(frame.kind, Kind::Update);
        let Ok(Message::Update(update)) = decode(frame.kind, frame.body, true) else { panic!() };
        assert_eq!(update.defect, None);
        (update.announced, update.withdrawn, update.end_of_rib)
    };
    messages.iter().map(read).collect()
}

const ENDS: [(u16, u16, Option<Family>); 2] =
    [(0, 0, Some(Family::Ipv4)), (0, 0, Some(Family::Ipv6))];

#[test]
fn a_session_gets_everything_by_path_and_then_the_ends_of_rib() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 2), ("192.0.2.3/32", 1)]));
    assert_eq!(seen(&rib.drain()), [&[(2, 0, None), (1, 0, None)][..], &ENDS].concat());
    assert_eq!(rib.drain(), Vec::<Vec<u8>>::new());
    assert_eq!(rib.counts(), Counts { sent: 3, wanted: 3, ..Counts::default() });
    // And all of it again, after the loss of the session.
    rib.down();
    rib.set(routes(&[("192.0.2.1/32", 1)]).into());
    rib.up(&Family::ALL.into(), encoding());
    assert_eq!(seen(&rib.drain()), [&[(1, 0, None)][..], &ENDS].concat());
}

#[test]
fn an_empty_table_is_complete_too() {
    assert_eq!(seen(&up(Routes::default()).drain()), ENDS);
}

#[test]
fn only_what_changed_is_sent_and_only_the_newest() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]));
    rib.drain();
    rib.set(routes(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]).into());
    assert_eq!(rib.drain(), Vec::<Vec<u8>>::new());
    for tag in 2..100 {
        rib.set(routes(&[("192.0.2.1/32", tag), ("2001:db8::1/128", 1)]).into());
    }
    assert_eq!(seen(&rib.drain()), [(1, 0, None)]);
    // Gone and back while the peer was slow: nothing to say.
    rib.set(routes(&[("2001:db8::1/128", 1)]).into());
    rib.set(routes(&[("192.0.2.1/32", 99), ("2001:db8::1/128", 1)]).into());
    assert_eq!(rib.drain(), Vec::<Vec<u8>>::new());
    rib.set(Arc::default());
    assert_eq!(seen(&rib.drain()), [(0, 1, None), (0, 1, None)]);
    assert_eq!(rib.counts(), Counts::default());
}

#[test]
fn a_refresh_sends_one_family_again_and_still_withdraws_what_is_gone() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 1), ("2001:db8::1/128", 1)]));
    rib.drain();
    rib.set(routes(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]).into());
    rib.resend(Family::Ipv4);
    assert_eq!(seen(&rib.drain()), [(1, 0, None), (0, 1, None)]);
    assert_eq!(rib.counts().sent, 2);
}

#[test]
fn leaving_marks_every_route_then_withdraws_it() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]));
    rib.drain();
    rib.leave();
    let marked = rib.drain();
    assert_eq!(seen(&marked), [(1, 0, None), (1, 0, None)]);
    let community = [0xff, 0xff, 0, 0];
    assert!(marked.iter().all(|message| message.windows(4).any(|four| four == community)));
    rib.withdraw();
    assert_eq!(seen(&rib.drain()), [(0, 1, None), (0, 1, None)]);
    // What comes now comes too late.
    rib.set(routes(&[("192.0.2.9/32", 1)]).into());
    assert_eq!(rib.drain(), Vec::<Vec<u8>>::new());
}

#[test]
fn what_a_session_cannot_carry_is_counted_and_the_rest_goes() {
    let mut rib = Rib::default();
    rib.set(routes(&[("192.0.2.1/32", 1), ("2001:db8::1/128", 1)]).into());
    rib.up(&BTreeSet::from([Family::Ipv4]), encoding());
    assert_eq!(seen(&rib.drain()), [(1, 0, None), ENDS[0]]);
    assert_eq!(rib.counts(), Counts { sent: 1, wanted: 2, unsendable: 1, refused: 0 });

    let next_hops = NextHops { ipv6: None, ..encoding().next_hops };
    rib.up(&Family::ALL.into(), Encoding { next_hops, ..encoding() });
    assert_eq!(seen(&rib.drain()), [&[(1, 0, None)][..], &ENDS].concat());
    assert_eq!(rib.counts().unsendable, 1);
}

#[test]
fn a_path_that_fits_no_message_takes_its_prefix_back_and_harms_no_other() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 2)]));
    rib.drain();
    let mut wanted = routes(&[("192.0.2.2/32", 3)]);
    let all = (0..1_100).map(Community).collect();
    wanted.add(net("192.0.2.1/32"), &Path { communities: all, ..Path::default() });
    rib.set(wanted.into());
    assert_eq!(seen(&rib.drain()), [(1, 0, None), (0, 1, None)]);
    assert_eq!(rib.refused(), Some(TooLong { communities: 1_100 }));
    assert_eq!((rib.counts().sent, rib.counts().refused), (1, 1));
    let told = rib.told().unwrap();
    assert!(!told.has(&net("192.0.2.1/32")) && told.has(&net("192.0.2.2/32")));
    // With fewer of them it is told again, or it is wanted no more.
    rib.set(routes(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 3)]).into());
    assert_eq!(seen(&rib.drain()), [(1, 0, None)]);
    assert_eq!((rib.refused(), rib.counts().refused), (None, 0));
    assert!(rib.told().unwrap().has(&net("192.0.2.1/32")));
}

#[test]
fn what_waits_was_not_told() {
    let mut rib = up(routes(&[("192.0.2.1/32", 1)]));
    assert_eq!(rib.told(), None);
    rib.drain();
    let first = rib.told().unwrap();
    assert!(first.has(&net("192.0.2.1/32")) && !first.has(&net("192.0.2.2/32")));
    rib.set(routes(&[("192.0.2.1/32", 1), ("192.0.2.2/32", 1)]).into());
    assert_eq!(rib.told(), None);
    rib.drain();
    assert!(rib.told().unwrap().has(&net("192.0.2.2/32")));
    rib.withdraw();
    rib.drain();
    assert_eq!(rib.told(), None);
    rib.down();
    assert_eq!(rib.told(), None);
}

#[test]
fn one_prefix_from_two_advertisements_has_the_communities_of_both() {
    let mut both = routes(&[("192.0.2.0/24", 1)]);
    both.add(net("192.0.2.77/24"), &Path { local_pref: Some(50), ..tagged(2) });
    both.add(net("192.0.2.0/24"), &Path { local_pref: Some(40), ..Path::default() });
    let path = both.get(&net("192.0.2.0/24")).unwrap();
    assert_eq!(path.communities, BTreeSet::from([Community(1), Community(2)]));
    assert_eq!(path.local_pref, Some(50));
    assert_eq!(both.prefixes().count(), 1);
}

#[test]
fn aggregation_cuts_an_address_to_a_prefix() {
    let cut = |ipv4, ipv6, address: &str| {
        Aggregation { ipv4, ipv6 }.prefix(address.parse().unwrap()).to_string()
    };
    assert_eq!(cut(24, 124, "192.0.2.77"), "192.0.2.0/24");
    assert_eq!(cut(24, 124, "2001:db8::77"), "2001:db8::70/124");
    assert_eq!(cut(99, 200, "192.0.2.77"), "192.0.2.77/32");
    assert_eq!(Aggregation::default().prefix("::1".parse().unwrap()).to_string(), "::1/128");
}

/// The number in the issue, and that packing does not take long: ten thousand VIPs, ten paths.
#[test]
fn ten_thousand_prefixes_of_ten_paths_take_few_messages_and_little_time() {
    let mut wanted = Routes::default();
    for number in 0..10_000_u32 {
        let prefix = IpNet::from(std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        wanted.add(prefix, &tagged(number % 10));
    }
    let mut rib = up(wanted);
    let start = Instant::now();
    let messages = rib.drain();
    let taken = start.elapsed();
    let mut sizes = BTreeMap::<u16, usize>::new();
    seen(&messages).iter().for_each(|(announced, _, _)| *sizes.entry(*announced).or_default() += 1);
    assert_eq!(sizes.iter().map(|(size, count)| usize::from(*size) * count).sum::<usize>(), 10_000);
    assert!(messages.len() <= 10 * 2 + 2, "{sizes:?}");
    println!("{} messages in {taken:?}", messages.len());
}
