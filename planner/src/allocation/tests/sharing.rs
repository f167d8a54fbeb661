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
        assert_eq!(assigned(&allocation, name), ["10.0.0.0"]);
    }
    assert_eq!(assigned_to_service(&allocation, "s"), ["10.0.0.0"]);
    assert_eq!(assigned(&allocation, "alone"), ["10.0.0.1"]);
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

/// MetalLB: "should reconsider services when sharing the ip and conditions change".
#[test]
fn the_youngest_leaves_when_sharing_ends() {
    let together = pool().want(web()).want(mail()).told();
    assert_eq!(together.run().claims.0.len(), 1);
    let on_80 = |want: Want| sharing(want, "k", &[80]);
    let cases = [
        [service("shop/web", &[V4]), mail()],
        [web(), service("post/mail", &[V4])],
        [web(), sharing(service("post/mail", &[V4]), "other", &[25])],
        [web(), on_80(service("post/mail", &[V4]))],
        [local(web(), "web"), local(mail(), "mail")],
    ];
    for wants in cases {
        let apart = together.wanting(&wants);
        let allocation = apart.run();
        assert_eq!(assigned_to_service(&allocation, "shop/web"), ["10.0.0.0"], "{wants:?}");
        assert_eq!(assigned_to_service(&allocation, "post/mail"), ["10.0.0.1"], "{wants:?}");
        assert_eq!(apart.then(apart.wants.clone()).run(), allocation, "a fixed point");
    }
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
