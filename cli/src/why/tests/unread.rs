//! A kubeconfig of restricted rights: what could not be listed is said, and nothing follows from what is not there.

use vipgate_api::Kind;

use super::cases::{CASES, Case};
use super::world::World;
use super::{answer, ask};
use crate::why::cause::Cause;
use crate::why::chain::{Answer, State};
use crate::why::cluster::KINDS;
use crate::why::facts::Facts;

/// The base, of which these kinds cannot be listed.
fn without(kinds: &[Kind]) -> Facts {
    let mut world = World::new("");
    world.unread = kinds.iter().copied().collect();
    world.facts(|_| {}, |_| {})
}

fn unlisted(kind: Kind) -> String {
    format!("{} could not be listed (forbidden)", kind.plural())
}

/// The world of a case, of which one kind cannot be listed.
fn of_case(cause: Cause, kind: Kind, of: &str) -> Answer {
    let case: &Case = CASES.iter().find(|case| case.cause == cause).unwrap();
    let mut world = World::new(case.yaml);
    (case.before)(&mut world);
    world.unread = [kind].into();
    ask(&world.facts(case.nodes, case.last), of).unwrap()
}

#[test]
fn of_a_whole_world_nothing_is_broken_whatever_cannot_be_listed() {
    let subjects = [
        "gateway/web",
        "gateway/web:80",
        "tcproute/web",
        "service/dns",
        "10.0.0.100",
        "10.0.0.101:53",
    ];
    for kind in KINDS {
        let facts = without(&[kind]);
        for of in subjects {
            let (text, last) = match ask(&facts, of) {
                Err(error) => (error.clone(), error),
                Ok(answer) => {
                    assert!(answer.whole, "without {kind}: {answer}");
                    let last = answer.links.last().unwrap();
                    assert_eq!(last.state, State::Unknown, "without {kind}: {answer}");
                    (answer.to_string(), last.text.clone())
                }
            };
            assert!(last.contains(&unlisted(kind)), "{of} without {kind}: {text}");
            for falsehood in ["does not exist", "there is none", "nobody has", "of 0 endpoints"] {
                assert!(!text.contains(falsehood), "{of} without {kind}: {text}");
            }
        }
    }
}

#[test]
fn of_a_world_without_any_list_nothing_is_broken_either() {
    let facts = without(&KINDS);
    for of in ["gateway/web", "tcproute/web", "service/dns", "10.0.0.100"] {
        let error = ask(&facts, of).unwrap_err();
        assert!(
            error.contains("is not known: ") && error.contains("could not be listed"),
            "{error}"
        );
    }
}

/// What a reviewer saw said, each with the link that it was said at.
#[test]
fn a_link_that_rests_on_what_cannot_be_listed_is_not_known() {
    for (kind, of, link) in [
        (Kind::EndpointSlice, "10.0.0.101", "endpoint"),
        (Kind::EndpointSlice, "gateway/web", "endpoint"),
        (Kind::GatewayClass, "gateway/web", "class"),
        (Kind::VirtualIp, "gateway/web", "claim"),
        (Kind::VirtualIp, "service/dns", "claim"),
        (Kind::Speaker, "10.0.0.100", "node"),
        (Kind::Gateway, "tcproute/web", "parent"),
        (Kind::Gateway, "10.0.0.100", "object"),
        (Kind::Service, "10.0.0.101", "object"),
    ] {
        let answer = ask(&without(&[kind]), of).unwrap();
        let said = format!("not known: {}", unlisted(kind));
        let found = answer
            .links
            .iter()
            .any(|one| one.state == State::Unknown && one.link.name() == link && one.text == said);
        assert!(found, "{of} without {kind}: {answer}");
    }
}

/// With the class goes only whether it is ours, which a VIP tells as well.
#[test]
fn behind_a_class_that_is_not_read_a_gateway_with_a_vip_is_looked_at() {
    let text = ask(&without(&[Kind::GatewayClass]), "gateway/web").unwrap().to_string();
    assert!(text.contains("✓ owner      Gateway default/web: a has 10.0.0.100"), "{text}");
}

#[test]
fn what_a_condition_says_is_so_whatever_can_be_listed() {
    // A Service has the reason in its condition; of a Gateway the planner has it, from pools.
    let service = of_case(Cause::NoAddressOfFamily, Kind::IpAddressPool, "service/dns");
    assert_eq!(service.first_broken().unwrap().cause, Some(Cause::NoAddressOfFamily), "{service}");
    for cause in [Cause::NoPool, Cause::PoolExhausted, Cause::PoolNotFound, Cause::AddressNotInPool]
    {
        let gateway = of_case(cause, Kind::IpAddressPool, "gateway/web");
        assert_eq!(gateway.first_broken().unwrap().cause, Some(Cause::AddressMissing), "{gateway}");
        assert!(gateway.to_string().contains(&unlisted(Kind::IpAddressPool)), "{gateway}");
    }
    for (cause, kind, of) in [
        (Cause::RouteNotAllowed, Kind::Namespace, "gateway/web"),
        (Cause::NoMatchingListener, Kind::GatewayClass, "gateway/web"),
        (Cause::BackendNotFound, Kind::Gateway, "tcproute/web"),
        (Cause::ClassRefused, Kind::GatewayClass, "gateway/web"),
        (Cause::BackendNotPermitted, Kind::ReferenceGrant, "tcproute/web"),
        (Cause::BackendNotFound, Kind::Service, "tcproute/web"),
    ] {
        let answer = of_case(cause, kind, of);
        assert_eq!(answer.first_broken().unwrap().cause, Some(cause), "{answer}");
    }
}

/// No case has another cause where a kind cannot be listed than where it can, but for the coarser one of addresses.
#[test]
fn no_cause_is_made_by_what_cannot_be_listed() {
    let mut wrong = Vec::new();
    // The one with hundreds of listeners takes seconds for each kind.
    for case in CASES.iter().filter(|case| case.cause != Cause::TooManyListeners) {
        let all: Vec<Cause> = answer(case).links.iter().filter_map(|link| link.cause).collect();
        for kind in KINDS {
            let mut world = World::new(case.yaml);
            (case.before)(&mut world);
            world.unread = [kind].into();
            let Ok(answer) = ask(&world.facts(case.nodes, case.last), case.of) else { continue };
            let made = answer.links.iter().filter_map(|link| link.cause);
            let made = made.filter(|cause| *cause != Cause::AddressMissing && !all.contains(cause));
            let made: Vec<Cause> = made.collect();
            if !made.is_empty() {
                wrong.push(format!("{:?} without {kind}: {made:?}\n{answer}", case.cause));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_may_be_there_unseen_is_not_denied() {
    for (kind, of, said) in [
        (
            Kind::Gateway,
            "gateway/gone",
            "whether Gateway default/gone exists is not known: gateways could",
        ),
        (
            Kind::VirtualIp,
            "10.0.0.100",
            "whether 10.0.0.100 is a VIP is not known: virtualips could",
        ),
        (Kind::ListenerSet, "gateway/web:81", "has no port 81 that is known: listenersets could"),
        (Kind::ListenerSet, "10.0.0.100:81", "has no port 81 that is known: listenersets could"),
    ] {
        let error = ask(&without(&[kind]), of).unwrap_err();
        assert!(error.contains(said), "{of}: {error}");
    }
}

/// A speaker of a newer version: the others are looked at, and nothing follows from its silence.
#[test]
fn a_speaker_that_cannot_be_read_may_be_the_owner() {
    let facts = World::new("").facts(
        |_| {},
        |written| {
            let speaker = written.iter_mut().find(|(one, _)| one.kind == Kind::Speaker);
            speaker.unwrap().1["status"] = "of another form".into();
        },
    );
    let answer = ask(&facts, "10.0.0.100").unwrap();
    let text = answer.to_string();
    assert!(answer.whole, "{text}");
    assert!(text.contains("1 of 2 cannot be read by this version of the program"), "{text}");
    assert!(!text.contains("nobody has"), "{text}");
}
