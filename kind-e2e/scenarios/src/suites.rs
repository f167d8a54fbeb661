//! Which scenarios there are, and how they are run: one after the other, each on ground of its own.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use crate::ground::Ground;
use crate::rig::Rig;
use crate::{Result, bgp, chaos, gateway, l2, smoke, upgrade};

/// A set of scenarios, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
}

/// All there are, in the order in which they are run.
pub const SUITES: [Suite; 7] = [
    Suite { name: "smoke", about: "a Gateway and a Service get VIPs that answer" },
    Suite { name: "l2", about: "who answers for a VIP, and who when that node is lost" },
    Suite { name: "bgp", about: "FRR learns VIPs from all nodes, and forgets them" },
    Suite { name: "gateway", about: "weights, TLS passed through, UDP" },
    Suite { name: "upgrade", about: "helm upgrade while somebody calls" },
    Suite { name: "chaos", about: "the API server, or a node, stands still" },
    Suite { name: "conformance", about: "the official suite of Gateway API" },
];

/// What came of it: a note for the report, where there is something to tell.
type Done = Result<Option<String>>;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// That it is a part of.
    pub suite: &'static str,
    /// As a sentence.
    pub name: &'static str,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    OnGround(fn(&Ground<'_>) -> Done),
    /// It brings its own objects.
    Alone(fn(&dyn Rig) -> Done),
}

const ALL: [Scenario; 11] = [
    on("smoke", "a Gateway with a TCPRoute answers", smoke::gateway_answers),
    on("smoke", "a Service of type LoadBalancer answers", smoke::service_answers),
    on("l2", "one node answers for a VIP", l2::one_node_answers),
    on("l2", "a lost node is replaced", l2::a_lost_node_is_replaced),
    on("bgp", "the router learns a VIP from every node and forgets it", bgp::the_router_follows),
    on("gateway", "connections go by weight", gateway::weights_count),
    on("gateway", "TLS is passed through by name", gateway::tls_is_passed_through),
    on("gateway", "datagrams pass", gateway::datagrams_pass),
    on("upgrade", "callers notice no upgrade", upgrade::callers_notice_no_upgrade),
    on("chaos", "the API server stands still", chaos::the_api_server_stands_still),
    on("chaos", "a node stands still", chaos::a_node_stands_still),
];

const CONFORMANCE: Scenario = Scenario {
    suite: "conformance",
    name: "the official suite passes",
    act: Act::Alone(|rig| rig.conformance().map(Some)),
};

const fn on(suite: &'static str, name: &'static str, act: fn(&Ground<'_>) -> Done) -> Scenario {
    Scenario { suite, name, act: Act::OnGround(act) }
}

/// Those of a suite, or of all of them (`all`).
///
/// # Errors
/// When there is no such suite; it names those there are.
pub fn scenarios(suite: &str) -> Result<Vec<Scenario>> {
    let known = ALL.into_iter().chain([CONFORMANCE]);
    let found: Vec<Scenario> =
        known.filter(|scenario| suite == "all" || scenario.suite == suite).collect();
    if found.is_empty() {
        let names = SUITES.map(|suite| suite.name).join(", ");
        bail!("no suite {suite:?}: there are {names} and all");
    }
    Ok(found)
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// That it is a part of.
    pub suite: &'static str,
    /// As a sentence.
    pub name: &'static str,
    /// How long it took, with what it cleared away.
    pub took: Duration,
    /// A note, or why it failed: all causes.
    pub result: Result<Option<String>, String>,
}

/// Runs scenarios one after the other, and goes on after one that failed; `told` hears of each when it is over.
pub fn run(rig: &dyn Rig, which: &[Scenario], mut told: impl FnMut(&Outcome)) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for scenario in which {
        let began = Instant::now();
        let act = AssertUnwindSafe(|| act(rig, scenario));
        let done = std::panic::catch_unwind(act).unwrap_or_else(|_| Err(anyhow!("it panicked")));
        let outcome = Outcome {
            suite: scenario.suite,
            name: scenario.name,
            took: began.elapsed(),
            result: done.map_err(|error| format!("{error:#}")),
        };
        told(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

fn act(rig: &dyn Rig, scenario: &Scenario) -> Done {
    match scenario.act {
        Act::Alone(act) => act(rig),
        Act::OnGround(act) => {
            let ground = Ground::lay(rig).context("before it began")?;
            let done = act(&ground);
            // Why it failed says more than what that left.
            let cleared = ground.clear().context("what it made does not go away");
            let note = done?;
            cleared.map(|()| note)
        }
    }
}
