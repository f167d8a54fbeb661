//! What Services get: families, names, pools. Cases that MetalLB has in its own tests carry the title
//! they have there (e2etest/l2tests/assignment.go); where we differ on purpose, the test says so.

use Family::{V4, V6};
use vipgate_api::Reason;

use super::*;

fn dual() -> Setup {
    Setup::new().pool("a", &["10.0.0.0/30", "fd00::/126"])
}

/// Pools of one family each, and one of both behind them.
fn mixed() -> Setup {
    Setup::new()
        .pool("a4", &["10.0.0.0/30"])
        .pool("b6", &["fd00::/126"])
        .pool("c46", &["10.2.0.0/30", "fd02::/126"])
}

#[test]
fn a_service_gets_an_address_of_each_of_its_families_the_primary_one_first() {
    let cases: [(&[Family], &[&str]); 4] = [
        (&[V4], &["10.0.0.0"]),
        (&[V6], &["fd00::"]),
        (&[V4, V6], &["10.0.0.0", "fd00::"]),
        (&[V6, V4], &["fd00::", "10.0.0.0"]),
    ];
    for (families, expected) in cases {
        for want in [service("x", families), requiring("x", families)] {
            let allocation = dual().want(want).run();
            assert_eq!(assigned_to_service(&allocation, "x"), expected);
            assert_eq!(problems_of_service(&allocation, "x"), Vec::<String>::new());
        }
    }
}

/// Both are probed before anybody is told of them.
#[test]
fn a_new_address_is_not_published_whatever_its_family() {
    let claims = dual().want(service("x", &[V4, V6])).run().claims;
    let published: Vec<_> = claims.0.values().map(|claim| claim.published).collect();
    assert_eq!(published, [false, false]);
}

/// MetalLB: "PREFER DUALSTACK: select dual-stack pool if available".
#[test]
fn prefer_dualstack_selects_a_dual_stack_pool_if_available() {
    let allocation = mixed().want(service("x", &[V4, V6])).run();
    assert_eq!(assigned_to_service(&allocation, "x"), ["10.2.0.0", "fd02::"]);
}

fn single_stack_pools() -> Setup {
    Setup::new().pool("a6", &["fd00::/126"]).pool("b4", &["10.0.0.0/30"])
}

/// MetalLB: "PREFER DUALSTACK: prefer primary ipv4 family among single-stack pools".
#[test]
fn prefer_dualstack_takes_the_primary_ipv4_family_among_single_stack_pools() {
    let allocation = single_stack_pools().want(service("x", &[V4, V6])).run();
    assert_eq!(assigned_to_service(&allocation, "x"), ["10.0.0.0"]);
    assert_eq!(problems_of_service(&allocation, "x"), Vec::<String>::new());
}

/// MetalLB: "PREFER DUALSTACK: prefer primary ipv6 family among single-stack pools".
#[test]
fn prefer_dualstack_takes_the_primary_ipv6_family_among_single_stack_pools() {
    let setup = Setup::new().pool("a4", &["10.0.0.0/30"]).pool("b6", &["fd00::/126"]);
    let allocation = setup.want(service("x", &[V6, V4])).run();
    assert_eq!(assigned_to_service(&allocation, "x"), ["fd00::"]);
}

/// MetalLB: "PREFER DUALSTACK: additional ip assigned when the 1-stack pool becomes dual-stack".
#[test]
fn an_additional_address_is_assigned_when_the_pool_becomes_dual_stack() {
    let before = Setup::new().pool("a", &["10.0.0.0/30"]).want(service("x", &[V4, V6])).told();
    assert_eq!(assigned_to_service(&before.run(), "x"), ["10.0.0.0"]);
    let after = before.pool("a", &["10.0.0.0/30", "fd00::/126"]).run();
    assert_eq!(assigned_to_service(&after, "x"), ["10.0.0.0", "fd00::"]);
}

/// MetalLB: "PREFER DUALSTACK: svc must not jump from single-stack pool to dual-stack pool later".
#[test]
fn a_service_does_not_jump_from_a_single_stack_pool_to_a_dual_stack_pool() {
    let before = Setup::new().pool("a", &["10.0.0.0/30"]).want(service("x", &[V4, V6]));
    for before in [before.told(), before.then(before.wants.clone())] {
        let after = before.pool("b", &["10.1.0.0/30", "fd01::/126"]).run();
        assert_eq!(assigned_to_service(&after, "x"), ["10.0.0.0"]);
    }
}

/// MetalLB: "PREFER DUALSTACK: re-assign on PreferDualStack<->RequireDualStack". There the Service
/// moves to a pool of both families. Here it keeps the address that clients know, and gets the other
/// one beside it.
#[test]
fn prefer_to_require_adds_the_other_family_and_back_keeps_both() {
    let prefers = single_stack_pools().want(service("x", &[V4, V6])).told();
    assert_eq!(assigned_to_service(&prefers.run(), "x"), ["10.0.0.0"]);
    let requires = prefers.wanting(&[requiring("x", &[V4, V6])]).told();
    assert_eq!(assigned_to_service(&requires.run(), "x"), ["10.0.0.0", "fd00::"]);
    let again = requires.wanting(&[service("x", &[V4, V6])]);
    assert_eq!(assigned_to_service(&again.run(), "x"), ["10.0.0.0", "fd00::"]);
}

/// MetalLB: "PREFER DUALSTACK: when the dual pool becomes single, pick another dual pool if possible".
/// There both addresses move. Here nothing moves, unless the pool says `reclaim`, and then only what
/// it takes back is replaced.
#[test]
fn when_the_dual_pool_becomes_single_another_one_replaces_what_is_taken_back() {
    let base = dual().pool("b", &["10.1.0.0/30", "fd01::/126"]).want(service("x", &[V4, V6]));
    let kept = base.told().pool("a", &["10.0.0.0/30"]).run();
    assert_eq!(assigned_to_service(&kept, "x"), ["10.0.0.0", "fd00::"]);
    assert_eq!(kept.notes.len(), 1);
    let shrunk = base.told().pool_with("a", &["10.0.0.0/30"], |spec| spec.reclaim = true);
    let taken = shrunk.run();
    assert_eq!(assigned_to_service(&taken, "x"), ["10.0.0.0", "fd01::"]);
    assert_eq!(shrunk.then(shrunk.wants.clone()).run(), taken, "a fixed point");
}

#[test]
fn downgrade_to_single_stack_releases_the_other_family() {
    let both = dual().want(service("x", &[V4, V6])).told();
    let one = both.wanting(&[service("x", &[V4])]).run();
    assert_eq!(assigned_to_service(&one, "x"), ["10.0.0.0"]);
    assert_eq!(one.claims.0.len(), 1);
}

#[test]
fn require_dualstack_takes_both_or_nothing() {
    let setup = Setup::new().pool("a", &["10.0.0.0/30"]).want(requiring("x", &[V4, V6]));
    let allocation = setup.run();
    assert_eq!(assigned_to_service(&allocation, "x"), Vec::<String>::new());
    assert_eq!(
        problems_of_service(&allocation, "x"),
        ["pool a has no IPv6 addresses: add a range to one of them"]
    );
    assert_eq!(allocation.claims.0.len(), 0);
    // From two pools rather than not at all.
    let allocation = single_stack_pools().want(requiring("x", &[V4, V6])).run();
    assert_eq!(assigned_to_service(&allocation, "x"), ["10.0.0.0", "fd00::"]);
}

#[test]
fn what_require_dualstack_has_it_keeps_while_the_other_family_is_missing() {
    let before = Setup::new().pool("a", &["10.0.0.0/30"]).want(service("x", &[V4])).told();
    let allocation = before.wanting(&[requiring("x", &[V4, V6])]).run();
    assert_eq!(assigned_to_service(&allocation, "x"), ["10.0.0.0"]);
    assert_eq!(problems_of_service(&allocation, "x").len(), 1);
}

/// MetalLB: "removes the ip from a service and assigns it to a free one when: deleting the service".
/// (A changed type is the same to allocation: the Service is not among those that want any more.)
#[test]
fn an_address_goes_from_a_deleted_service_to_one_that_waits() {
    let setup = Setup::new().pool("a", &["10.0.0.1"]);
    let both = setup.want(service("x", &[V4])).want(service("y", &[V4])).told();
    assert_eq!(assigned_to_service(&both.run(), "x"), ["10.0.0.1"]);
    assert_eq!(
        problems_of_service(&both.run(), "y"),
        [
            "no IPv4 address is free in pool a: add a range to a pool, or delete a Gateway or Service \
          that is not needed"
        ]
    );
    let one = both.wanting(&[service("y", &[V4])]).run();
    assert_eq!(assigned_to_service(&one, "y"), ["10.0.0.1"]);
}

/// MetalLB: "should preserve the same external ip after controller restart".
#[test]
fn claims_are_all_that_a_restart_needs() {
    let setup = dual().want(service("x", &[V4])).want(service("y", &[V4])).told();
    let claims: Claims =
        serde_json::from_str(&serde_json::to_string(&setup.run().claims).unwrap()).unwrap();
    let again = Setup { claims, ..setup.wanting(&[service("new", &[V4]), service("y", &[V4])]) };
    assert_eq!(assigned_to_service(&again.run(), "y"), ["10.0.0.1"]);
}

/// The same without any claim: as a cluster looks that MetalLB served until now.
#[test]
fn an_address_in_the_status_is_taken_over_when_a_pool_allows_it() {
    let adopting = |want: Want, address: &str| Want { adopt: vec![ip(address)], ..want };
    let setup = dual()
        .want(service("older", &[V4]))
        .want(with_names(service("asks", &[V4]), &["10.0.0.0"]))
        .want(adopting(service("had", &[V4]), "10.0.0.0"))
        .want(adopting(service("outside", &[V4]), "10.9.9.9"))
        .want(adopting(service("family", &[V4]), "fd00::"))
        .want(adopting(gateway("gateway"), "10.0.0.3"));
    let allocation = setup.run();
    assert_eq!(assigned_to_service(&allocation, "had"), ["10.0.0.0"]);
    assert!(allocation.claims.0[&ip("10.0.0.0")].published, "clients know it");
    assert_eq!(assigned_to_service(&allocation, "older"), ["10.0.0.1"]);
    assert_eq!(assigned_to_service(&allocation, "asks"), Vec::<String>::new());
    assert_eq!(assigned_to_service(&allocation, "outside"), ["10.0.0.2"]);
    assert_eq!(assigned_to_service(&allocation, "family"), Vec::<String>::new());
    assert_eq!(assigned(&allocation, "gateway"), ["10.0.0.3", "fd00::"], "and what it lacks");
}

/// MetalLB: "removing pools: removes all pools" and "reallocates svc after deleting a pool". There
/// every Service loses its address. Here a pool that is deleted takes nothing back.
#[test]
fn a_deleted_pool_takes_nothing_back() {
    let setup = Setup::new()
        .pool_with("a", &["10.0.0.0/30"], |spec| spec.reclaim = true)
        .pool("b", &["10.1.0.0/30"])
        .want(service("x", &[V4]))
        .told();
    for left in [vec![], vec!["b"]] {
        let mut pools = setup.pools.clone();
        pools.retain(|key, _| left.contains(&key.name.as_str()));
        let after = Setup { pools, ..setup.clone() }.run();
        assert_eq!(assigned_to_service(&after, "x"), ["10.0.0.0"]);
        assert_eq!(
            after.notes[0].to_string(),
            "Service default/x keeps 10.0.0.0, which is in use, although no pool has it any more"
        );
    }
}

#[test]
fn a_pool_with_reclaim_takes_back_what_it_has_no_more() {
    let base = Setup::new()
        .pool("a", &["10.0.0.0/30"])
        .want(service("first", &[V4]))
        .want(service("x", &[V4]))
        .want(with_names(service("named", &[V4]), &["10.0.0.3"]))
        .told();
    let reclaiming = |addresses: &[&str], exclusions: &[&str]| {
        base.clone().pool_with("a", addresses, |spec| {
            spec.reclaim = true;
            spec.exclusions = strings(exclusions);
        })
    };
    for setup in [
        reclaiming(&["10.0.0.0", "10.0.0.2"], &[]),
        reclaiming(&["10.0.0.0/30"], &["10.0.0.1", "10.0.0.3"]),
    ] {
        let allocation = setup.run();
        assert_eq!(assigned_to_service(&allocation, "first"), ["10.0.0.0"]);
        assert_eq!(assigned_to_service(&allocation, "x"), ["10.0.0.2"]);
        assert_eq!(assigned_to_service(&allocation, "named"), Vec::<String>::new());
        assert_eq!(problems_of_service(&allocation, "named").len(), 1);
        assert_eq!(setup.then(setup.wants.clone()).run(), allocation, "a fixed point");
    }
    // Another pool has it now: it moves under that, nobody loses anything.
    let moved = reclaiming(&["10.0.0.0"], &[]).pool("b", &["10.0.0.1-10.0.0.3"]).run();
    assert_eq!(assigned_to_service(&moved, "x"), ["10.0.0.1"]);
    assert_eq!(moved.claims.0[&ip("10.0.0.1")].pool, "b");
}

/// MetalLB: "allocation in pools: with namespace", "with only priority", "with namespace and namespace
/// labels", "with service label", "with namespace and service label", "with namespace with labels".
#[test]
fn pools_are_for_namespaces_labels_and_in_order_of_priority() {
    let in_namespace = |namespace: &str| ServiceAllocation {
        namespaces: strings(&[namespace]),
        ..ServiceAllocation::default()
    };
    let labelled = |app: &str| ServiceAllocation {
        service_selectors: vec![selector("app", app)],
        ..ServiceAllocation::default()
    };
    let by_label = ServiceAllocation {
        namespace_selectors: vec![selector("tier", "front")],
        ..ServiceAllocation::default()
    };
    let both = ServiceAllocation {
        service_selectors: vec![selector("app", "web")],
        ..in_namespace("shop")
    };
    // (rule of pool b, namespace of the Service, its app, whether it gets an address of b)
    let cases = [
        (ServiceAllocation { priority: 1, ..ServiceAllocation::default() }, "any", "db", true),
        (in_namespace("shop"), "shop", "db", true),
        (in_namespace("shop"), "any", "db", false),
        (by_label.clone(), "edge", "db", true),
        (by_label, "any", "db", false),
        (labelled("web"), "any", "web", true),
        (labelled("web"), "any", "db", false),
        (both.clone(), "shop", "web", true),
        (both.clone(), "shop", "db", false),
        (both, "any", "web", false),
    ];
    for (rule, namespace, app, expected) in cases {
        let name = format!("{namespace}/x");
        let want = Want { labels: labels(&[("app", app)]), ..service(&name, &[V4]) };
        let setup = Setup::new()
            .pool("a", &["10.0.0.1"])
            .restricted("b", &["10.1.0.1"], rule.clone())
            .namespace("edge", &[("tier", "front")]);
        let got = assigned_to_service(&setup.want(want).run(), &name);
        assert_eq!(got == ["10.1.0.1"], expected, "{rule:?} {name} {app}: {got:?}");
    }
}

/// MetalLB: "validate requesting a specific address pool" (IPv4/IPv6 x autoAssign true/false).
#[test]
fn a_service_that_names_its_pool_gets_an_address_of_it() {
    for (family, addresses, expected) in
        [(V4, "10.1.0.0/30", "10.1.0.0"), (V6, "fd01::/126", "fd01::")]
    {
        for auto_assign in [true, false] {
            let setup = dual().pool_with("b", &[addresses], |spec| spec.auto_assign = auto_assign);
            let allocation = setup.want(naming(service("x", &[family]), "b")).run();
            assert_eq!(assigned_to_service(&allocation, "x"), [expected]);
        }
    }
}

#[test]
fn labels_that_select_one_kind_keep_the_other_out() {
    let rule = |services: bool| {
        let selectors = vec![selector("app", "web")];
        match services {
            true => ServiceAllocation { service_selectors: selectors, ..Default::default() },
            false => ServiceAllocation { gateway_selectors: selectors, ..Default::default() },
        }
    };
    let web = |want: Want| Want { labels: labels(&[("app", "web")]), ..want };
    for for_services in [true, false] {
        let setup = Setup::new().restricted("a", &["10.0.0.0/30"], rule(for_services));
        let allocation = setup.want(web(service("x", &[V4]))).want(web(gateway("x"))).run();
        assert_eq!(assigned_to_service(&allocation, "x").is_empty(), !for_services);
        assert_eq!(assigned(&allocation, "x").is_empty(), for_services);
    }
}

/// As in MetalLB a pool for somebody in particular goes before one for everybody, even with one family
/// only: whoever made it for this namespace wants it to be used.
#[test]
fn a_pool_of_ones_own_goes_before_a_dual_stack_pool_for_everybody() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..Default::default() };
    let first = ServiceAllocation { priority: 7, ..Default::default() };
    for rule in [shop, first] {
        let setup = dual().restricted("z", &["10.9.0.0/30"], rule);
        let prefers = setup.clone().want(service("shop/x", &[V4, V6])).run();
        assert_eq!(assigned_to_service(&prefers, "shop/x"), ["10.9.0.0"]);
        // Both or none: from a pool that has both.
        let requires = setup.want(requiring("shop/x", &[V4, V6])).run();
        assert_eq!(assigned_to_service(&requires, "shop/x"), ["10.0.0.0", "fd00::"]);
    }
}

/// What MetalLB does when annotations of a running Service change: it moves where the new request can
/// be met. Where that cannot be, MetalLB takes the address away; here the pool is such a request, and
/// the Service keeps its address with a note; an address that is named is had or not.
#[test]
fn a_changed_annotation_moves_the_service_and_a_withdrawn_one_does_not() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..Default::default() };
    let base = dual()
        .pool("b", &["10.1.0.0/30"])
        .restricted("theirs", &["10.2.0.0/30"], shop)
        .want(service("x", &[V4]))
        .told();
    let then = |want: Want| {
        let after = base.wanting(&[want]);
        let allocation = after.run();
        assert_eq!(after.then(after.wants.clone()).run(), allocation, "a fixed point");
        allocation
    };
    let plain = || service("x", &[V4]);
    // (Service afterwards, what it has, whether that is noted, the reason of its problem)
    let cases = [
        (naming(plain(), "b"), Some("10.1.0.0"), false, None),
        (naming(plain(), "missing"), Some("10.0.0.0"), true, None),
        (naming(plain(), "theirs"), Some("10.0.0.0"), true, None),
        (with_names(plain(), &["10.1.0.3"]), Some("10.1.0.3"), false, None),
        (with_names(plain(), &["10.9.9.9"]), None, false, Some(Reason::AddressNotInPool)),
        (with_names(plain(), &["10.2.0.1"]), None, false, Some(Reason::PoolNotAllowed)),
        (
            naming(with_names(plain(), &["10.0.0.1"]), "b"),
            None,
            false,
            Some(Reason::PoolNotAllowed),
        ),
    ];
    for (want, address, is_noted, reason) in cases {
        let allocation = then(want.clone());
        assert_eq!(assigned_to_service(&allocation, "x"), Vec::from_iter(address), "{want:?}");
        assert_eq!(!allocation.notes.is_empty(), is_noted, "{want:?}");
        let addresses = &allocation.users[&want.user];
        assert_eq!(addresses.problems.first().map(AddressProblem::service_reason), reason);
    }
    // Without the annotation it stays where it is.
    let moved = base.wanting(&[with_names(plain(), &["10.1.0.3"])]).told();
    let back = moved.wanting(&[plain()]).run();
    assert_eq!(assigned_to_service(&back, "x"), ["10.1.0.3"]);
}

#[test]
fn an_address_of_a_pool_for_others_is_refused_with_the_rule() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..Default::default() };
    let setup = dual().restricted("theirs", &["10.2.0.0/30"], shop);
    let allocation = setup.want(with_names(service("x", &[V4]), &["10.2.0.1"])).run();
    assert_eq!(
        problems_of_service(&allocation, "x"),
        ["10.2.0.1: pool theirs may not be used: its serviceAllocation takes no Services of \
          namespace default: add it to namespaces, or give it labels that namespaceSelectors match"]
    );
}

#[test]
fn a_key_reaches_into_every_pool_that_both_may_use() {
    let setup = dual().pool("b", &["10.1.0.0/30"]);
    let first = naming(sharing(service("first", &[V4]), "k", &[80]), "b");
    let setup = setup.want(first).told();
    let second = || sharing(service("second", &[V4]), "k", &[81]);
    let shared = setup.clone().want(second()).run();
    assert_eq!(assigned_to_service(&shared, "second"), ["10.1.0.0"], "before a free one of pool a");
    let elsewhere = setup.want(naming(second(), "a")).run();
    assert_eq!(assigned_to_service(&elsewhere, "second"), ["10.0.0.0"]);
}

#[test]
fn named_addresses_are_given_as_named_or_not_at_all() {
    // (families, named, assigned, reason of the problem)
    #[allow(clippy::type_complexity, reason = "the columns of a table")]
    let cases: [(&[Family], &[&str], &[&str], Option<Reason>); 10] = [
        (&[V4], &["10.0.0.3"], &["10.0.0.3"], None),
        (&[V4, V6], &["fd00::3", "10.0.0.3"], &["10.0.0.3", "fd00::3"], None),
        (&[V4, V6], &["fd00::3"], &["10.0.0.0", "fd00::3"], None),
        (&[V4], &["10.0.0.3", "10.0.0.2"], &["10.0.0.3", "10.0.0.2"], None),
        (&[V4], &["fd00::3"], &[], Some(Reason::FamilyMismatch)),
        (&[V4], &["10.9.9.9"], &[], Some(Reason::AddressNotInPool)),
        (&[V4, V6], &["10.9.9.9"], &[], Some(Reason::AddressNotInPool)),
        (&[V4, V6], &["10.0.0.3", "fd09::"], &[], Some(Reason::AddressNotInPool)),
        (&[V4], &["ten"], &[], Some(Reason::InvalidAddress)),
        (&[V4], &["224.0.0.1"], &[], Some(Reason::AddressReserved)),
    ];
    for (families, named, expected, reason) in cases {
        let allocation = dual().want(with_names(service("x", families), named)).run();
        assert_eq!(assigned_to_service(&allocation, "x"), expected, "{named:?}");
        let addresses = &allocation.users[&ObjectRef::new(Kind::Service, key("x"))];
        let got = addresses.problems.first().map(AddressProblem::service_reason);
        assert_eq!(got, reason, "{named:?}");
    }
}

/// Found by `edits_harm_nobody_else` in `tests/services_life.rs`: a younger Service gets one of the names
/// while the older one cannot have them all. What is said of the older one must not wait for the next run.
#[test]
fn what_keeps_a_service_from_its_names_is_said_at_once() {
    let setup = dual()
        .want(with_names(service("older", &[V4, V6]), &["10.0.0.0", "fd09::"]))
        .want(service("younger", &[V4]));
    let allocation = setup.run();
    assert_eq!(assigned_to_service(&allocation, "younger"), ["10.0.0.0"]);
    let problems = problems_of_service(&allocation, "older");
    assert!(problems[0].starts_with("10.0.0.0 belongs to Service default/younger"), "{problems:?}");
    assert!(problems[1].starts_with("fd09:: is in no IPAddressPool"), "{problems:?}");
    assert_eq!(setup.then(setup.wants.clone()).run(), allocation, "a fixed point");
}

#[test]
fn texts_speak_of_services_and_of_what_they_wrote() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..Default::default() };
    let setup = Setup::new().restricted("a", &["10.0.0.0/30"], shop);
    let mut named = naming(service("named", &[V4]), "missing");
    named.pool.as_mut().unwrap().annotation = "metallb.io/address-pool".to_owned();
    let setup = setup
        .want(service("x", &[V4]))
        .want(named)
        .want(with_names(service("family", &[V4]), &["fd00::1"]))
        .want(with_names(service("text", &[V4]), &["ten"]));
    let allocation = setup.run();
    let texts: Vec<_> = ["x", "named", "family", "text"]
        .into_iter()
        .flat_map(|name| problems_of_service(&allocation, name))
        .collect();
    assert_eq!(
        texts,
        [
            "pool a may not be used: its serviceAllocation takes no Services of namespace default: \
             add it to namespaces, or give it labels that namespaceSelectors match",
            "annotation metallb.io/address-pool: there is no usable IPAddressPool \"missing\": \
             write one of a",
            "spec.loadBalancerIP: fd00::1 is an IPv6 address, but the Service has no IPv6: request \
             one of its families (spec.ipFamilies), or change spec.ipFamilyPolicy",
            "spec.loadBalancerIP: \"ten\" is not an IP address: write one such as 192.0.2.10, or \
             remove it",
        ]
    );
}
