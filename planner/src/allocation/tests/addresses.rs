//! What `spec.addresses` asks for, what is chosen without it, and what is said when it fails.

use vipgate_api::Reason;

use super::*;

fn dual() -> Setup {
    Setup::new().pool("a", &["10.0.0.0/30", "fd00::/126"])
}

#[test]
fn one_address_per_family_that_the_pool_has() {
    let v4 = Setup::new().pool("a", &["10.0.0.8/29"]).want(gateway("x"));
    assert_eq!(assigned(&v4.run(), "x"), ["10.0.0.8"]);
    let v6 = Setup::new().pool("a", &["fd00::8/125"]).want(gateway("x"));
    assert_eq!(assigned(&v6.run(), "x"), ["fd00::8"]);
    assert_eq!(assigned(&dual().want(gateway("x")).run(), "x"), ["10.0.0.0", "fd00::"]);
}

#[test]
fn new_claims_name_pool_origin_and_are_not_published() {
    let claims = Setup::new().pool("a", &["10.0.0.1"]).want(gateway("x")).run().claims;
    let claim = Claim {
        pool: "a".to_owned(),
        users: vec![vip_user("x")],
        origin: Origin::Chosen,
        published: false,
    };
    assert_eq!(claims.0, BTreeMap::from([(ip("10.0.0.1"), claim)]));
    let claims =
        Setup::new().pool("a", &["10.0.0.1"]).want(asking("x", &["10.0.0.1"])).run().claims;
    assert_eq!(claims.0[&ip("10.0.0.1")].origin, Origin::Requested);
}

#[test]
fn both_families_come_from_one_pool_where_possible() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.1", "fd00::/126"])
        .pool("b", &["10.1.0.0/30", "fd01::/126"])
        .want(gateway("1"))
        .want(gateway("2"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "1"), ["10.0.0.1", "fd00::"]);
    assert_eq!(assigned(&allocation, "2"), ["10.1.0.0", "fd01::"]);
}

#[test]
fn a_family_that_the_pool_ran_out_of_comes_from_the_next() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.1", "fd00::/126"])
        .pool("b", &["10.1.0.1", "fd01::1"])
        .want(asking("takes-v6-of-b", &["fd01::1"]))
        .want(gateway("1"))
        .want(gateway("2"))
        .want(gateway("3"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "1"), ["10.0.0.1", "fd00::"]);
    assert_eq!(assigned(&allocation, "2"), ["10.1.0.1", "fd00::1"]);
    assert_eq!(assigned(&allocation, "3"), ["fd00::2"]);
    assert_eq!(
        problem(&allocation, "3").to_string(),
        "no IPv4 address is free in pools a, b: add a range to a pool, or delete a Gateway or \
         Service that is not needed"
    );
}

#[test]
fn an_entry_without_a_value_asks_for_one_more_of_a_new_family_first() {
    // (spec.addresses, what is assigned)
    let cases: [(&[&str], &[&str]); 7] = [
        (&[""], &["10.0.0.0"]),
        (&["", ""], &["10.0.0.0", "fd00::"]),
        (&["", "", ""], &["10.0.0.0", "10.0.0.1", "fd00::"]),
        (&["10.0.0.2", ""], &["10.0.0.2", "fd00::"]),
        (&["", "fd00::2"], &["10.0.0.0", "fd00::2"]),
        (&["10.0.0.0", "fd00::", ""], &["10.0.0.0", "fd00::", "10.0.0.1"]),
        (&["", "fd00::2", "10.0.0.3"], &["10.0.0.0", "fd00::2", "10.0.0.3"]),
    ];
    for (values, expected) in cases {
        let allocation = dual().want(asking("x", values)).run();
        assert_eq!(assigned(&allocation, "x"), expected, "{values:?}");
        assert_eq!(of(&allocation, "x").problems, [], "{values:?}");
    }
}

#[test]
fn an_empty_string_is_no_value() {
    let mut want = asking("x", &[""]);
    let Asks::Entries(entries) = &mut want.asks else { panic!() };
    entries[0].value = Some(String::new());
    let allocation = dual().want(want).run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.0"]);
}

#[test]
fn any_address_is_better_than_none() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.1", "fd00::/126"])
        .want(asking("taker", &["10.0.0.1"]))
        .want(asking("x", &["", ""]));
    assert_eq!(assigned(&setup.run(), "x"), ["fd00::", "fd00::1"]);
}

#[test]
fn an_address_that_is_asked_for_twice_is_given_once() {
    let allocation = dual().want(asking("x", &["10.0.0.2", "10.0.0.2"])).run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.2"]);
    assert_eq!(of(&allocation, "x").problems, []);
}

#[test]
fn addresses_come_in_the_order_asked_for() {
    let allocation = dual().want(asking("x", &["fd00::1", "10.0.0.3", "10.0.0.1"])).run();
    assert_eq!(assigned(&allocation, "x"), ["fd00::1", "10.0.0.3", "10.0.0.1"]);
}

#[test]
fn requests_go_before_choices_and_older_requests_first() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/30"])
        .want(gateway("chooses"))
        .want(asking("older", &["10.0.0.0"]))
        .want(asking("younger", &["10.0.0.0"]));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "older"), ["10.0.0.0"]);
    assert_eq!(assigned(&allocation, "chooses"), ["10.0.0.1"]);
    assert_eq!(
        problem(&allocation, "younger"),
        &AddressProblem::InUse { address: ip("10.0.0.0"), by: user("older"), why: Unshared::Key }
    );
}

#[test]
fn equal_age_is_decided_by_namespace_and_name() {
    let mut setup = Setup::new().pool("a", &["10.0.0.0/30"]);
    setup.wants = ["b/a", "a/b", "a/a"].map(gateway).to_vec();
    let allocation = setup.run();
    let got = ["a/a", "a/b", "b/a"].map(|name| assigned(&allocation, name).concat());
    assert_eq!(got, ["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
}

#[test]
fn what_fails_does_not_keep_the_rest_from_being_assigned() {
    let mut want = asking("x", &["10.9.9.9", "10.0.0.2", "nonsense", ""]);
    let Asks::Entries(entries) = &mut want.asks else { panic!() };
    entries.push(GatewayAddress {
        kind: AddressType::Hostname,
        value: Some("example.com".to_owned()),
    });
    let setup = Setup::new().pool("a", &["10.0.0.0/30"]).want(want);
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.2", "10.0.0.0"]);
    let reasons: Vec<_> =
        of(&allocation, "x").problems.iter().map(AddressProblem::reason).collect();
    assert_eq!(
        reasons,
        [Reason::AddressNotUsable, Reason::UnsupportedAddress, Reason::AddressNotUsable]
    );
}

/// A Gateway in `default` that asks for one address, and what it is told.
#[test]
fn every_refusal_says_what_to_write_instead() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..ServiceAllocation::default() };
    let setup = Setup::new()
        .pool_with("a", &["10.0.0.0/24"], |spec| {
            spec.avoid_buggy_ips = true;
            spec.exclusions = strings(&["10.0.0.7"]);
        })
        .restricted("b", &["10.0.1.0/24"], shop)
        .node_address("10.0.0.4")
        .foreign("10.0.0.5")
        .claim("10.0.0.6", "a", "other/one", Origin::Chosen)
        .keeping_unknown();
    let cases = [
        (
            "10.9.9.9",
            "10.9.9.9 is in no IPAddressPool: request one that is, or add it to \
          spec.addresses of a pool (there is: a, b)",
        ),
        (
            "10.0.0.0",
            "10.0.0.0 is never given out: pool a keeps it back by spec.avoidBuggyIPs; \
          request another address",
        ),
        (
            "10.0.0.7",
            "10.0.0.7 is never given out: pool a keeps it back by spec.exclusions; \
          request another address",
        ),
        (
            "10.0.0.4",
            "10.0.0.4 is never given out: it is an address of the host itself; request \
          another address",
        ),
        (
            "127.0.0.0",
            "127.0.0.0 is never given out: it can never be the address of a Gateway; \
          request another address",
        ),
        (
            "::1",
            "::1 is never given out: it can never be the address of a Gateway; request another \
          address",
        ),
        (
            "10.0.0.6",
            "10.0.0.6 belongs to Gateway other/one: request another address, or let both \
          share it by the annotation vipgate.dev/allow-shared-ip with one value (and no port in common)",
        ),
        (
            "10.0.0.5",
            "10.0.0.5 is in use by a host with MAC 02:00:00:00:00:07: take the address \
          from that host, or put it into spec.exclusions of its pool and request another",
        ),
        (
            "10.0.1.1",
            "10.0.1.1: pool b may not be used: its serviceAllocation takes no Gateways of \
          namespace default: add it to namespaces, or give it labels that namespaceSelectors match",
        ),
        (
            "10.0.0.300",
            "spec.addresses[0]: \"10.0.0.300\" is not an IP address: write one such as \
          192.0.2.10, or leave value out to have one chosen",
        ),
    ];
    for (value, expected) in cases {
        let allocation = setup.clone().want(asking("x", &[value])).run();
        let problem = problem(&allocation, "x");
        assert_eq!(problem.to_string(), expected);
        assert_eq!(problem.reason(), Reason::AddressNotUsable, "{value}");
    }
}

#[test]
fn types_other_than_ip_address_are_not_served() {
    for kind in ["Hostname", "NamedAddress", "test/fake-invalid-type"] {
        let entry = GatewayAddress { kind: kind.to_owned().into(), value: Some("x".to_owned()) };
        let want = Want { asks: Asks::Entries(vec![entry]), ..gateway("x") };
        let allocation = Setup::new().pool("a", &["10.0.0.1"]).want(want).run();
        assert_eq!(assigned(&allocation, "x"), Vec::<String>::new());
        let problem = problem(&allocation, "x");
        assert_eq!(problem.reason(), Reason::UnsupportedAddress);
        assert_eq!(
            problem.to_string(),
            format!(
                "spec.addresses[0]: type {kind} is not served: write type IPAddress, with an \
                 address of a pool or without a value"
            )
        );
    }
}

#[test]
fn an_ipv4_mapped_address_is_told_apart() {
    let setup = Setup::new().pool("a", &["10.0.0.1"]);
    let allocation = setup.want(asking("x", &["::ffff:10.0.0.1"])).run();
    assert!(matches!(problem(&allocation, "x"), AddressProblem::Reserved { .. }));
}

#[test]
fn exhaustion_counts_addresses_that_outsiders_sit_on() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/31"])
        .foreign("10.0.0.1")
        .foreign("10.9.9.9")
        .want(gateway("first"))
        .want(gateway("second"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "first"), ["10.0.0.0"]);
    let problem = problem(&allocation, "second");
    assert_eq!(problem.reason(), Reason::AddressNotAssigned);
    assert_eq!(
        problem.to_string(),
        "no address is free in pool a (1 is answered for by a host outside the group): add a range \
         to a pool, or delete a Gateway or \
         Service that is not needed"
    );
}

#[test]
fn exhaustion_of_a_family_counts_outsiders_of_that_family() {
    let setup = dual()
        .foreign("10.0.0.3")
        .foreign("fd00::1")
        .want(asking("taker", &["10.0.0.0", "10.0.0.1", "10.0.0.2"]))
        .want(gateway("x"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["fd00::"]);
    let expected =
        AddressProblem::Exhausted { pools: strings(&["a"]), family: Some(Family::V4), foreign: 1 };
    assert_eq!(problem(&allocation, "x"), &expected);
}

#[test]
fn without_any_pool_it_says_to_create_one() {
    let allocation = Setup::new().want(gateway("x")).want(asking("y", &["10.0.0.1"])).run();
    assert_eq!(
        problem(&allocation, "x").to_string(),
        "there is no IPAddressPool to choose from: create one, or name one with autoAssign: false \
         in the annotation vipgate.dev/address-pool"
    );
    assert_eq!(problem(&allocation, "x").reason(), Reason::AddressNotAssigned);
    assert_eq!(
        problem(&allocation, "y").to_string(),
        "10.0.0.1 is in no IPAddressPool: request one that is, or add it to spec.addresses of a pool"
    );
}

#[test]
fn the_hosts_own_addresses_are_never_chosen() {
    let setup =
        Setup::new().pool("a", &["127.0.0.0/8"]).node_address("127.0.0.1").want(gateway("x"));
    assert_eq!(assigned(&setup.run(), "x"), ["127.0.0.2"]);
}
