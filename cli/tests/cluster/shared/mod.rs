//! The scenarios that kind runs as well (`kind-e2e/scenarios`), here in the lab: the same functions, and the same
//! commands of the client and the router. Those of conformance are `cli/tests/conformance/`.

mod rig;

use vipgate_scenarios::{run, scenarios};

use rig::Lab;

/// All of a suite on one site, one after the other; each takes away what it made.
fn pass(suites: &[&str]) {
    let lab = Lab::build().unwrap();
    let which: Vec<_> = suites.iter().flat_map(|suite| scenarios(suite).unwrap()).collect();
    let outcomes = run(&lab, &which, |outcome| {
        println!("{}: {} ({:?}): {:?}", outcome.suite, outcome.name, outcome.took, outcome.result);
    });
    let failed: Vec<&str> =
        outcomes.iter().filter(|one| one.result.is_err()).map(|one| one.name).collect();
    assert!(failed.is_empty(), "of {}: {failed:?}; why is above", outcomes.len());
}

#[test]
fn the_short_scenarios_of_kind_pass_in_the_lab() {
    pass(&["smoke"]);
}

#[test]
#[ignore = "some minutes: make lab"]
fn long_the_other_scenarios_of_kind_pass_in_the_lab() {
    pass(&["l2", "bgp", "gateway", "upgrade", "chaos"]);
}
