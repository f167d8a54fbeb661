//! Who may have an address in common, and what becomes of it when that changes.

use Family::{V4, V6};

use super::*;

fn pool() -> Setup {
    Setup::new().pool("a", &["10.0.0.0/29", "fd00::/125"])
}

fn local(mut want: Want, app: &str) -> Want {
    let traffic = Traffic { local: true, selector: labels(&[("app", app)]) };
    want.sharing.as_mut().unwrap().traffic = Some(traffic);
    want
}

/// externalTrafficPolicy: Cluster, with this selector.
fn selecting(want: Want, app: &str) -> Want {
    let mut want = local(want, app);
    want.sharing.as_mut().unwrap().traffic.as_mut().unwrap().local = false;
    want
}

fn web() -> Want {
    sharing(service("shop/web", &[V4]), "k", &[80, 443])
}

fn mail() -> Want {
    sharing(service("post/mail", &[V4]), "k", &[25])
}

/// As in MetalLB the key is enough, in whatever namespace; there it is left open whether an address
/// is shared that nobody names, here it is.
#[test]
fn services_with_one_key_share_an_address() {
    let allocation = pool().want(service("alone", &[V4])).want(web()).want(mail()).run();
    assert_eq!(assigned_to_service(&allocation, "shop/web"), ["10.0.0.1"]);
    assert_eq!(assigned_to_service(&allocation, "post/mail"), ["10.0.0.1"]);
    let claim = &allocation.claims.0[&ip("10.0.0.1")];
    let users: Vec<_> = claim.users.iter().map(|user| user.object.to_string()).collect();
    assert_eq!(users, ["Service post/mail", "Service shop/web"]);
    assert_eq!(claim.users[1].ports.len(), 2);
}

#[test]
fn both_families_are_shared() {
    let both = [V4, V6];
    let allocation = pool()
        .want(sharing(service("x", &both), "k", &[80]))
        .want(sharing(service("y", &both), "k", &[81]))
        .run();
    assert_eq!(assigned_to_service(&allocation, "y"), ["10.0.0.0", "fd00::"]);
}

#[test]
fn gateways_share_with_gateways_and_with_services() {
    let allocation = pool()
        .want(sharing(gateway("g"), "k", &[80]))
        .want(sharing(gateway("h"), "k", &[443]))
        .want(sharing(service("s", &[V4]), "k", &[53]))
        .want(gateway("alone"))
        .run();
    for name in ["g", "h"] {
        assert_eq!(assigned(&allocation, name), ["10.0.0.0", "fd00::"]);
    }
    assert_eq!(assigned_to_service(&allocation, "s"), ["10.0.0.0"]);
    assert_eq!(assigned(&allocation, "alone"), ["10.0.0.1", "fd00::1"]);
}

/// (the second Service, why it cannot have the address of the first)
#[test]
fn what_keeps_services_apart() {
    let other_protocol = |mut want: Want| {
        want.ports.iter_mut().for_each(|port| port.protocol = Transport::Udp);
        want
    };
    let first = || sharing(service("first", &[V4]), "k", &[80, 443]);
    let second = |key, ports: &[u16]| sharing(service("second", &[V4]), key, ports);
    let cases = [
        (first(), second("k", &[81]), None),
        (first(), other_protocol(second("k", &[80])), None),
        (first(), second("k", &[443]), Some("change one of the ports: both serve 443/TCP")),
        (first(), second("other", &[81]), Some("let both share it by the annotation")),
        (first(), service("second", &[V4]), Some("let both share it by the annotation")),
        (service("first", &[V4]), second("k", &[81]), Some("let both share it by the annotation")),
        (local(first(), "a"), local(second("k", &[81]), "a"), None),
        (local(first(), "a"), local(second("k", &[81]), "b"), Some("the same selector")),
        (first(), local(second("k", &[81]), "b"), Some("the same selector")),
        // Refused by MetalLB too.
        (selecting(first(), "a"), local(second("k", &[81]), "a"), Some("Local and the same")),
        (selecting(first(), "a"), selecting(second("k", &[81]), "b"), None),
    ];
    for (first, second, obstacle) in cases {
        let setup = pool().want(first);
        let chosen = setup.clone().want(second.clone()).run();
        let shares = assigned_to_service(&chosen, "second") == ["10.0.0.0"];
        assert_eq!(shares, obstacle.is_none(), "{second:?}");
        let named = setup.told().want(with_names(second.clone(), &["10.0.0.0"])).run();
        match obstacle {
            None => assert_eq!(assigned_to_service(&named, "second"), ["10.0.0.0"]),
            Some(text) => {
                assert_eq!(assigned_to_service(&named, "second"), Vec::<String>::new());
                let problem = problems_of_service(&named, "second").concat();
                let start =
                    "10.0.0.0 belongs to Service default/first: request another address, or";
                assert!(problem.starts_with(start) && problem.contains(text), "{problem}");
            }
        }
    }
}

/// MetalLB: "should reconsider services when sharing the ip and conditions change". As there the one
/// that was changed leaves, be it the older one.
#[test]
fn the_one_that_changed_leaves_when_sharing_ends() {
    let together = pool().want(web()).want(mail()).told();
    assert_eq!(together.run().claims.0.len(), 1);
    // (Services afterwards, whether it is the older one that leaves)
    let cases = [
        ([service("shop/web", &[V4]), mail()], true),
        ([web(), service("post/mail", &[V4])], false),
        ([sharing(service("shop/web", &[V4]), "other", &[80]), mail()], true),
        ([web(), sharing(service("post/mail", &[V4]), "other", &[25])], false),
        ([sharing(service("shop/web", &[V4]), "k", &[80, 25]), mail()], true),
        ([web(), sharing(service("post/mail", &[V4]), "k", &[80])], false),
        ([local(web(), "web"), mail()], true),
        ([web(), local(mail(), "web")], false),
        // Both: the youngest.
        ([local(web(), "web"), local(mail(), "mail")], false),
    ];
    for (wants, older_leaves) in cases {
        let apart = together.wanting(&wants);
        let allocation = apart.run();
        let expected = match older_leaves {
            true => ["10.0.0.1", "10.0.0.0"],
            false => ["10.0.0.0", "10.0.0.1"],
        };
        assert_eq!(assigned_to_service(&allocation, "shop/web"), [expected[0]], "{wants:?}");
        assert_eq!(assigned_to_service(&allocation, "post/mail"), [expected[1]], "{wants:?}");
        assert_eq!(apart.then(apart.wants.clone()).run(), allocation, "a fixed point");
    }
}

/// MetalLB: "should reconsider services when sharing the ip and conditions change", step by step, with
/// a pool of one address.
#[test]
fn services_come_together_and_part_as_their_policies_say() {
    let steps = [
        ([web(), mail()], [true, true]),
        ([web(), local(mail(), "a")], [true, false]),
        ([local(web(), "a"), local(mail(), "a")], [true, true]),
        ([local(web(), "b"), local(mail(), "a")], [false, true]),
        ([local(web(), "b"), local(mail(), "b")], [true, true]),
    ];
    let mut now = Setup::new().pool("a", &["10.0.0.1"]);
    for (step, (wants, expected)) in steps.into_iter().enumerate() {
        now = now.wanting(&wants).told();
        let allocation = now.run();
        for (name, has) in ["shop/web", "post/mail"].into_iter().zip(expected) {
            let addresses = assigned_to_service(&allocation, name);
            assert_eq!(addresses == ["10.0.0.1"], has, "step {step}: {name} has {addresses:?}");
        }
    }
}

/// A claim that is too large to be written stops everybody.
#[test]
fn an_address_has_no_more_users_and_ports_than_a_claim_can_hold() {
    let member = |n: u16| sharing(service(&format!("s{n:03}"), &[V4]), "k", &[n + 1]);
    let setup = (0..70).fold(pool(), |setup, n| setup.want(member(n)));
    let allocation = setup.run();
    let users = |address: &str| allocation.claims.0[&ip(address)].users.len();
    assert_eq!((users("10.0.0.0"), users("10.0.0.1")), (64, 6));
    let named = setup.told().want(with_names(member(99), &["10.0.0.0"])).run();
    let problem = problems_of_service(&named, "s099").concat();
    assert!(problem.contains("end one of the 64 that share it"), "{problem}");

    let many: Vec<u16> = (1000..1300).collect();
    let wide = sharing(service("wide", &[V4]), "k", &many);
    let setup = pool().want(member(1)).want(wide.clone()).told();
    let allocation = setup.run();
    assert_eq!(assigned_to_service(&allocation, "wide"), ["10.0.0.1"], "alone");
    assert_eq!(allocation.claims.0[&ip("10.0.0.1")].users[0].ports.len(), 256);
    let named = setup.wanting(&[member(1), with_names(wide, &["10.0.0.0"])]).run();
    let problem = problems_of_service(&named, "wide").concat();
    assert!(problem.contains("more than 256"), "{problem}");
}

#[test]
fn terms_tell_what_sharing_rests_on_and_nothing_else() {
    let terms = |want: Want| want.sharing.map(|sharing| sharing.terms()).unwrap();
    assert_eq!(terms(selecting(web(), "a")), terms(selecting(web(), "b")), "goes anywhere");
    assert_ne!(terms(local(web(), "a")), terms(local(web(), "b")));
    assert_ne!(terms(local(web(), "a")), terms(selecting(web(), "a")));
    assert_eq!(terms(web()), terms(mail()), "ports stand beside it");
    assert_eq!(terms(web()), "08bdde07b561d17e", "the same in every release");
    assert_eq!(terms(sharing(web(), &"k".repeat(100_000), &[])).len(), 16);
}

#[test]
fn the_youngest_has_a_reason_when_it_names_the_address() {
    let named = |want: Want| with_names(want, &["10.0.0.5"]);
    let together = pool().want(named(web())).want(named(mail())).told();
    assert_eq!(together.run().claims.0.len(), 1);
    let mail = named(sharing(service("post/mail", &[V4]), "k", &[443]));
    let apart = together.wanting(&[named(web()), mail]).run();
    assert_eq!(assigned_to_service(&apart, "shop/web"), ["10.0.0.5"]);
    assert_eq!(
        problems_of_service(&apart, "post/mail"),
        ["10.0.0.5 belongs to Service shop/web: request another address, or change one of the \
          ports: both serve 443/TCP"]
    );
}

#[test]
fn an_address_stays_with_those_who_are_left() {
    let together = pool().want(web()).want(mail()).told();
    let left = together.wanting(&[mail()]).run();
    assert_eq!(assigned_to_service(&left, "post/mail"), ["10.0.0.0"]);
    let users = &left.claims.0[&ip("10.0.0.0")].users;
    assert_eq!(users.len(), 1);
    assert!(left.claims.0[&ip("10.0.0.0")].published);
}

/// A Gateway that is refused for now is not among those that want; it loses nothing by that.
#[test]
fn users_that_are_unknown_for_now_keep_their_share() {
    let together = pool().want(web()).want(mail()).told();
    for wants in [vec![], vec![mail()], vec![web()]] {
        let kept = together.wanting(&wants).keeping_unknown().run();
        assert_eq!(kept.claims, together.claims);
    }
    let newcomer = sharing(service("new", &[V4]), "k", &[8080]);
    let kept = together.wanting(&[newcomer]).keeping_unknown().run();
    assert_eq!(assigned_to_service(&kept, "new"), ["10.0.0.1"], "of the others it knows no key");
}

#[test]
fn ports_of_a_claim_follow_the_user() {
    let setup = pool().want(web()).told();
    let after = setup.wanting(&[sharing(service("shop/web", &[V4]), "k", &[8080])]).run();
    let ports = &after.claims.0[&ip("10.0.0.0")].users[0].ports;
    assert_eq!(ports, &[PortUse { protocol: Transport::Tcp, port: 8080 }]);
}
