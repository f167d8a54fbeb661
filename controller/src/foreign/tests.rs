//! How long another host's address is avoided.

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn report(vips: &[(&str, VipState)]) -> NodeReport {
    let vips = vips.iter().map(|(address, state)| (ip(address), state.clone())).collect();
    NodeReport { vips, ..NodeReport::default() }
}

fn known(findings: &Findings) -> Vec<IpAddr> {
    findings.addresses().into_keys().collect()
}

#[test]
fn a_chosen_address_is_avoided_for_a_while_after_it_left_the_plan() {
    let start = Instant::now();
    let mut findings = Findings::default();
    findings.learn(&report(&[("10.0.0.1", VipState::Conflict(MAC))]), start);
    assert_eq!(findings.addresses(), [(ip("10.0.0.1"), MAC)].into());
    assert_eq!(findings.due(), None, "the node looks after it");

    let left = start + Duration::from_secs(1);
    findings.learn(&report(&[("10.0.0.2", VipState::Probing)]), left);
    assert_eq!(findings.due(), Some(left + HOLDS));
    findings.learn(&report(&[("10.0.0.2", VipState::Serving(Vec::new()))]), left + HOLDS / 2);
    findings.forget(left + HOLDS - Duration::from_millis(1));
    assert_eq!(known(&findings), [ip("10.0.0.1")]);
    findings.forget(left + HOLDS);
    assert!(known(&findings).is_empty());
    assert_eq!(findings.due(), None);
}

#[test]
fn an_address_that_is_asked_for_again_and_again_is_not_forgotten() {
    let start = Instant::now();
    let mut findings = Findings::default();
    findings.learn(&report(&[("10.0.0.1", VipState::Conflict(MAC))]), start);
    findings.forget(start + HOLDS * 10);
    assert_eq!(known(&findings), [ip("10.0.0.1")]);
}

#[test]
fn an_address_that_serves_is_nobody_elses() {
    let start = Instant::now();
    let mut findings = Findings::default();
    findings.learn(&report(&[("10.0.0.1", VipState::Conflict(MAC))]), start);
    findings.learn(&report(&[("10.0.0.1", VipState::Serving(Vec::new()))]), start);
    assert!(known(&findings).is_empty());
}
