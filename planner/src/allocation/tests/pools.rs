//! What a pool holds, who may use it, and in which order pools are used.

use super::*;

/// Everything that a pool gives out, in order, to one Gateway that takes it all.
fn given_out(setup: Setup) -> Vec<String> {
    let setup = setup.want(asking("all", &[""; 16]));
    assigned(&setup.run(), "all")
}

#[test]
fn a_pool_is_cidrs_ranges_and_addresses_of_both_families() {
    let addresses = ["10.0.0.8/31", "10.0.0.1 - 10.0.0.2", "fd00::4", "10.0.0.5", "fd00::/127"];
    let setup = Setup::new().pool("a", &addresses);
    let expected = [
        "10.0.0.1", "10.0.0.2", "10.0.0.5", "10.0.0.8", "10.0.0.9", "fd00::", "fd00::1", "fd00::4",
    ];
    assert_eq!(given_out(setup), expected);
}

#[test]
fn network_and_broadcast_addresses_are_addresses_like_any_other() {
    let setup = Setup::new().pool("a", &["10.0.0.0/30"]);
    assert_eq!(given_out(setup), ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn avoid_buggy_ips_keeps_0_and_255_back() {
    let setup =
        Setup::new().pool_with("a", &["10.0.0.254-10.0.1.1"], |spec| spec.avoid_buggy_ips = true);
    assert_eq!(given_out(setup), ["10.0.0.254", "10.0.1.1"]);
}

#[test]
fn avoid_buggy_ips_is_about_ipv4() {
    let setup = Setup::new()
        .pool_with("a", &["fd00::/127", "fd00::ff"], |spec| spec.avoid_buggy_ips = true);
    assert_eq!(given_out(setup), ["fd00::", "fd00::1", "fd00::ff"]);
}

#[test]
fn exclusions_are_never_given_out() {
    let exclusions = strings(&["10.0.0.1-10.0.0.2", "10.0.0.4/31", "10.9.9.9"]);
    let setup = Setup::new().pool_with("a", &["10.0.0.0/29"], |spec| spec.exclusions = exclusions);
    assert_eq!(given_out(setup), ["10.0.0.0", "10.0.0.3", "10.0.0.6", "10.0.0.7"]);
}

#[test]
fn what_can_never_be_a_vip_is_in_no_pool() {
    let ranges = [
        "0.255.255.254-1.0.0.0",
        "127.0.0.0/31",
        "127.255.255.254/31",
        "223.255.255.255-224.0.0.1",
        "239.255.255.255-240.0.0.0",
        "255.255.255.254/31",
        "::/126",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff-fe80::1",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff-fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff-ff00::1",
    ];
    let expected = [
        "1.0.0.0",
        "127.0.0.1",
        "127.255.255.254",
        "223.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "::2",
        "::3",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ];
    assert_eq!(given_out(Setup::new().pool("a", &ranges)), expected);
}

#[test]
fn a_bad_pool_is_named_and_disturbs_no_other() {
    let setup = Setup::new()
        .pool("malformed", &["10.0.1.0/24", "10.0.2.0/40"])
        .pool("empty", &[])
        .pool("multicast", &["224.0.0.0/24"])
        .pool_with("excluded", &["10.0.3.1"], |spec| spec.exclusions = strings(&["10.0.3.0/24"]))
        .pool_with("odd", &["10.0.4.1"], |spec| spec.exclusions = strings(&["10.0.4"]))
        .pool_with("buggy", &["10.0.6.0", "10.0.6.255"], |spec| spec.avoid_buggy_ips = true)
        .pool("good", &["10.0.0.1"])
        .pool("z/good", &["10.0.5.1"]);
    let problems: Vec<_> =
        setup.read_pools().1.into_iter().map(|(key, text)| format!("{key}: {text}")).collect();
    let empty = "no address is left: add a range to spec.addresses, or take one out of \
                 spec.exclusions (multicast, link-local IPv6, 0.0.0.0/8 and ::1 are never given out; \
                 .0 and .255 not with avoidBuggyIPs)";
    let expected = [
        format!("default/buggy: {empty}"),
        format!("default/empty: {empty}"),
        format!("default/excluded: {empty}"),
        "default/malformed: spec.addresses[1]: \"40\" is not a prefix length: write a number from \
         0 to 32 after the slash"
            .to_owned(),
        format!("default/multicast: {empty}"),
        "default/odd: spec.exclusions[0]: \"10.0.4\" is not an IP address: write a CIDR \
         (192.0.2.0/24), a range (192.0.2.10-192.0.2.20) or one address"
            .to_owned(),
        "z/good: namespace \"default\" has a pool of this name already: give this one another name"
            .to_owned(),
    ];
    assert_eq!(problems, expected);
    assert_eq!(given_out(setup), ["10.0.0.1"]);
}

#[test]
fn where_pools_overlap_the_first_by_name_has_the_address() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/31"])
        .pool("b", &["10.0.0.1-10.0.0.2"])
        .pool("c", &["10.0.0.0-10.0.0.2"])
        .want(naming(gateway("one"), "b"))
        .want(naming(asking("two", &["10.0.0.1"]), "b"));
    let problems: Vec<_> = setup.read_pools().1.into_iter().collect();
    let overlap = "10.0.0.1 is in a too, and is given out from there (the first pool by name has \
                   an address): keep every address in one pool";
    let covered = "all that it could give out is in a, b already: keep every address in one pool";
    assert_eq!(problems, [(key("b"), overlap.to_owned()), (key("c"), covered.to_owned())]);
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "one"), ["10.0.0.2"]);
    assert_eq!(
        problem(&allocation, "two").to_string(),
        "10.0.0.1: pool a may not be used: the annotation vipgate.dev/address-pool names b: add \
         it there"
    );
}

/// The namespace of a pool has no meaning, so it does not come before the name either.
#[test]
fn first_by_name_is_first_in_every_namespace() {
    let setup = Setup::new().pool("zone/a", &["10.0.0.0/31"]).pool("b", &["10.0.0.1-10.0.0.2"]);
    let (pools, problems) = setup.read_pools();
    assert_eq!(problems.into_keys().collect::<Vec<_>>(), [key("b")]);
    let homes = ["10.0.0.1", "10.0.0.2"].map(|address| pools.pool_of(ip(address)));
    assert_eq!(homes, [Some("a"), Some("b")]);
    let named = |pool: &str| naming(gateway("x"), pool);
    assert_eq!(assigned(&setup.clone().want(named("a")).run(), "x"), ["10.0.0.0"]);
    assert_eq!(assigned(&setup.want(named("b")).run(), "x"), ["10.0.0.2"]);
}

#[test]
fn what_one_pool_excludes_another_may_offer() {
    let exclude = |spec: &mut IpAddressPoolSpec| spec.exclusions = strings(&["10.0.0.0/25"]);
    let setup = Setup::new().pool_with("a", &["10.0.0.0/24"], exclude).pool("b", &["10.0.0.7"]);
    let (pools, problems) = setup.read_pools();
    assert_eq!(problems, BTreeMap::new());
    let homes = ["10.0.0.7", "10.0.0.8", "10.0.0.128", "10.0.1.0"].map(|a| pools.pool_of(ip(a)));
    assert_eq!(homes, [Some("b"), Some("a"), Some("a"), None]);
}

#[test]
fn pools_come_by_priority_then_name_and_unset_priority_last() {
    let priority = |priority| ServiceAllocation { priority, ..ServiceAllocation::default() };
    let setup = Setup::new()
        .pool("a", &["10.0.0.1"])
        .restricted("b", &["10.0.0.2"], priority(20))
        .restricted("d", &["10.0.0.4"], priority(10))
        .restricted("c", &["10.0.0.3"], priority(10))
        .restricted("e", &["10.0.0.5"], priority(0));
    let names = ["1", "2", "3", "4", "5"];
    let setup = names.iter().fold(setup, |setup, name| setup.want(gateway(name)));
    let allocation = setup.run();
    let got = names.map(|name| assigned(&allocation, name).concat());
    assert_eq!(got, ["10.0.0.3", "10.0.0.4", "10.0.0.2", "10.0.0.1", "10.0.0.5"]);
}

#[test]
fn auto_assign_false_needs_the_annotation_or_a_request() {
    let setup = Setup::new()
        .pool_with("spare", &["10.0.0.0/24"], |spec| spec.auto_assign = false)
        .want(gateway("plain"))
        .want(naming(gateway("named"), "spare"))
        .want(asking("exact", &["10.0.0.9"]));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "named"), ["10.0.0.0"]);
    assert_eq!(assigned(&allocation, "exact"), ["10.0.0.9"]);
    assert_eq!(problem(&allocation, "plain"), &AddressProblem::NoPool);
}

#[test]
fn the_annotation_may_name_several_pools() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.1"])
        .pool("b", &["10.0.0.2"])
        .pool("c", &["10.0.0.3"])
        .want(naming(asking("x", &["", "", ""]), " c, b,, missing"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.2", "10.0.0.3"]);
    let texts: Vec<_> = of(&allocation, "x").problems.iter().map(ToString::to_string).collect();
    let expected = [
        "annotation vipgate.dev/address-pool: there is no usable IPAddressPool \"missing\": write \
         one of a, b, c",
        "no address is free in pools b, c: add a range to a pool, or delete a Gateway or \
         Service that is not needed",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn a_misspelt_pool_beside_a_good_one_is_no_problem() {
    let setup = Setup::new().pool("a", &["10.0.0.1"]).want(naming(gateway("x"), "a,missing"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.1"]);
    assert_eq!(of(&allocation, "x").problems, []);
}

#[test]
fn selectors_of_one_kind_add_up_and_kinds_must_all_match() {
    let rule = ServiceAllocation {
        priority: 0,
        namespaces: strings(&["shop"]),
        namespace_selectors: vec![
            selector("tier", "front"),
            selector("kubernetes.io/metadata.name", "unlisted"),
        ],
        service_selectors: vec![],
        gateway_selectors: vec![selector("app", "web"), selector("app", "mail")],
    };
    let base = Setup::new()
        .restricted("a", &["10.0.0.0/24"], rule)
        .namespace("edge", &[("tier", "front")])
        .namespace("back", &[("tier", "back")]);
    // (Gateway, its app, whether it may have an address)
    let cases = [
        ("shop/x", "web", true),
        ("shop/x", "mail", true),
        ("shop/x", "db", false),
        ("edge/x", "web", true),
        ("edge/x", "db", false),
        ("unlisted/x", "web", true),
        ("back/x", "web", false),
        ("default/x", "web", false),
    ];
    for (name, app, allowed) in cases {
        let want = Want { labels: labels(&[("app", app)]), ..gateway(name) };
        let allocation = base.clone().want(want.clone()).run();
        assert_eq!(!assigned(&allocation, name).is_empty(), allowed, "{name} {app}");
        let exact = Want { asks: asking(name, &["10.0.0.9"]).asks, ..want };
        let allocation = base.clone().want(exact).run();
        assert_eq!(!assigned(&allocation, name).is_empty(), allowed, "{name} {app}, requested");
    }
}

#[test]
fn a_refusal_says_which_rule_it_is() {
    let only = |namespaces: &[&str], gateway_selectors| ServiceAllocation {
        namespaces: strings(namespaces),
        gateway_selectors,
        ..ServiceAllocation::default()
    };
    let setup = Setup::new()
        .restricted("a", &["10.0.0.1"], only(&["shop"], vec![]))
        .restricted("b", &["10.0.0.2"], only(&[], vec![selector("app", "web")]))
        .want(gateway("x"));
    let allocation = setup.run();
    let texts: Vec<_> = of(&allocation, "x").problems.iter().map(ToString::to_string).collect();
    let expected = [
        "pool a may not be used: its serviceAllocation takes no Gateways of namespace default: add \
         it to namespaces, or give it labels that namespaceSelectors match",
        "pool b may not be used: none of the gatewaySelectors of its serviceAllocation matches the \
         labels of the Gateway: change one or the other",
    ];
    assert_eq!(texts, expected);
}
