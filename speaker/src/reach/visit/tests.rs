use super::*;

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 200));

fn visit(now: Instant, ports: &[u16]) -> Visit {
    let from = (MacAddr([2, 0, 0, 0, 0, 1]), "192.0.2.1".parse().unwrap(), 40_000);
    let mut number = u32::MAX - 1;
    Visit::new(now, from, (MacAddr([2, 0, 0, 0, 0, 2]), VIP), ports, || {
        number = number.wrapping_add(1);
        number
    })
}

fn answer(port: u16, accepts: bool, acknowledged: u32) -> Answer {
    Answer { vip: VIP, port, accepts, acknowledged }
}

#[test]
fn every_port_that_answers_is_reached_and_told_to_forget_it() {
    let start = Instant::now();
    let mut visit = visit(start, &[80, 443]);
    assert_eq!(visit.due(), Some(start));
    assert_eq!(visit.tick(start).len(), 2);
    assert!(visit.tick(start).is_empty(), "once");
    let soon = start + Duration::from_millis(3);
    // The first sequence is the largest there is: what follows is 0.
    assert!(visit.receive(soon, &answer(80, true, 0)).is_some());
    assert!(!visit.is_over(soon));
    assert!(visit.receive(soon, &answer(443, true, 1)).is_some());
    assert!(visit.is_over(soon) && visit.due().is_none());
    // It says it again, as it has not heard that it is over.
    assert!(visit.receive(soon + PATIENCE, &answer(443, true, 1)).is_some());
    let (took, outcome, ports) = visit.found();
    assert_eq!((took, outcome), (Duration::from_millis(3), Outcome::Reached));
    assert_eq!(ports, [(80, true), (443, true)].into());
}

#[test]
fn who_does_not_answer_is_asked_again_and_then_given_up() {
    let start = Instant::now();
    let mut visit = visit(start, &[80, 443]);
    let mut sent = 0;
    let mut now = start;
    while !visit.is_over(now) {
        sent += visit.tick(now).len();
        if now == start {
            let refused = answer(443, false, 1);
            assert_eq!(visit.receive(now, &refused), None, "it expects nothing more");
        }
        now = visit.due().expect("it is not over");
    }
    assert_eq!((sent, now - start), (2 + SENDS.len() - 1, PATIENCE));
    let (_, outcome, ports) = visit.found();
    assert_eq!(outcome, Outcome::Silent(80));
    assert_eq!(ports, [(80, false), (443, false)].into());
}

#[test]
fn a_refusal_is_one() {
    let start = Instant::now();
    let mut visit = visit(start, &[80]);
    drop(visit.tick(start));
    drop(visit.receive(start, &answer(80, false, 0)));
    assert_eq!(visit.found().1, Outcome::Refused(80));
}

#[test]
fn what_answers_something_else_is_no_answer() {
    let start = Instant::now();
    let mut visit = visit(start, &[80]);
    drop(visit.tick(start));
    let other = Answer { vip: "192.0.2.201".parse().unwrap(), ..answer(80, true, 0) };
    for wrong in [answer(80, true, 1), answer(81, true, 0), other, answer(80, false, 77)] {
        assert_eq!(visit.receive(start, &wrong), None, "{wrong:?}");
    }
    assert!(!visit.is_over(start));
}

#[test]
fn without_ports_there_is_nothing_to_wait_for() {
    let start = Instant::now();
    let visit = visit(start, &[]);
    assert!(visit.is_over(start));
    assert_eq!(visit.found().1, Outcome::Reached);
}
