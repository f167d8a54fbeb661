//! The numbers to reach, as data, and the rule of when one is reached.
//!
//! Each is about a ratio: vipgate's figure over another one of the same round. It is reached when the bounds of the
//! ratio's median say so with 95 % certainty, give or take a twentieth of the goal.

use crate::peers::Peer;
use crate::statistics::bounds;
use crate::workload::Workload;

/// With fewer pairs nothing is said.
pub(super) const ROUNDS: usize = 15;

/// Which figure of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The workload's own.
    Value,
    /// CPU time of the proxy for each unit of work.
    Cpu,
    /// The time that all but a hundredth are within.
    P99,
    /// What the proxy adds to the workload's own figure without a proxy.
    Added,
}

/// What it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Against {
    /// This peer.
    Peer(Peer),
    /// Of the programs the one that does best, in each round.
    Best,
    /// vipgate itself at the same work without TLS.
    WithoutTls,
    /// Nobody: the figure itself is what counts, in the unit of the workload.
    Nobody,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// One number to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) workload: Workload,
    pub(super) of: Of,
    pub(super) against: Against,
    pub(super) limit: Limit,
    /// More than is to be reached.
    pub(super) beyond: bool,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    NotReached,
    TooFewRounds,
}

impl Verdict {
    /// In tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::NotReached => "not reached",
            Self::TooFewRounds => "too few rounds",
        }
    }
}

impl Goal {
    /// What the ratios say.
    pub(super) fn verdict(&self, ratios: &[f64]) -> Verdict {
        let Some((low, high)) = bounds(ratios).filter(|_| ratios.len() >= ROUNDS) else {
            return Verdict::TooFewRounds;
        };
        let reached = match self.limit {
            Limit::AtLeast(goal) => low >= 0.95 * goal,
            Limit::AtMost(goal) => high <= 1.05 * goal,
        };
        if reached { Verdict::Reached } else { Verdict::NotReached }
    }

    /// The line of a table, with the ratios as text.
    pub(super) fn line(&self, ratios: &[f64], certain: &str) -> String {
        let figure = match self.of {
            Of::Value => self.workload.measure().unit(),
            Of::Cpu => self.workload.measure().cpu_unit(),
            Of::P99 => "p99",
            Of::Added => "added p50",
        };
        let against = match self.against {
            Against::Peer(peer) => peer.name(),
            Against::Best => "the best of the others",
            Against::WithoutTls => "itself without TLS",
            Against::Nobody => "(the figure itself)",
        };
        let limit = match self.limit {
            Limit::AtLeast(goal) => format!("≥ {goal}"),
            Limit::AtMost(goal) => format!("≤ {goal}"),
        };
        let beyond = if self.beyond { " (beyond)" } else { "" };
        let verdict = self.verdict(ratios).name();
        format!(
            "| {} | {figure} | {against} | {limit}{beyond} | {certain} | {} | {verdict} |",
            self.workload.title(),
            ratios.len()
        )
    }
}

/// All of them that this program measures. Those of the process at rest and of scale have tests of their own.
pub(super) fn all() -> Vec<Goal> {
    use Against::{Best, Nobody, WithoutTls};
    use Limit::{AtLeast, AtMost};
    use Workload::{
        Bulk1, Bulk8, Connections, Datagrams64, Datagrams1400, Decrypt8, Encrypt1, Encrypt8,
        Handshakes, Idle, Iperf1, Iperf8, Pings1, Pings64, Through1, Through8,
    };
    let (envoy, nginx) = (Against::Peer(Peer::Envoy), Against::Peer(Peer::Nginx));
    let (haproxy, splice) = (Against::Peer(Peer::Haproxy), Against::Peer(Peer::HaproxySplice));
    let dnat = Against::Peer(Peer::Dnat);
    let mut goals = Vec::new();
    let mut add = |beyond, workload, of, against, limit| {
        goals.push(Goal { workload, of, against, limit, beyond });
    };
    for workload in [Iperf1, Iperf8] {
        add(false, workload, Of::Value, envoy, AtLeast(1.4));
        add(false, workload, Of::Value, haproxy, AtLeast(1.5));
        add(false, workload, Of::Value, splice, AtLeast(1.0));
        add(true, workload, Of::Value, splice, AtLeast(1.1));
    }
    add(false, Bulk8, Of::Value, envoy, AtLeast(3.0));
    add(false, Bulk8, Of::Value, splice, AtLeast(1.0));
    add(true, Bulk8, Of::Value, splice, AtLeast(1.15));
    for workload in [Iperf1, Iperf8, Bulk1, Bulk8] {
        add(false, workload, Of::Cpu, envoy, AtMost(0.25));
        add(false, workload, Of::Cpu, haproxy, AtMost(0.25));
        add(false, workload, Of::Cpu, splice, AtMost(1.0));
        add(true, workload, Of::Cpu, splice, AtMost(0.8));
    }
    add(false, Connections, Of::Value, envoy, AtLeast(1.8));
    add(false, Connections, Of::Value, haproxy, AtLeast(1.0));
    add(true, Connections, Of::Value, haproxy, AtLeast(1.15));
    add(true, Connections, Of::Value, nginx, AtLeast(1.0));
    add(false, Connections, Of::Cpu, envoy, AtMost(0.45));
    add(false, Connections, Of::Cpu, haproxy, AtMost(1.0));
    add(true, Connections, Of::Cpu, haproxy, AtMost(0.8));
    add(false, Pings64, Of::Value, envoy, AtLeast(1.4));
    add(false, Pings64, Of::Value, haproxy, AtLeast(1.05));
    add(false, Pings1, Of::Added, haproxy, AtMost(1.0));
    add(true, Pings1, Of::Added, haproxy, AtMost(0.8));
    for workload in [Pings1, Pings64] {
        add(false, workload, Of::P99, Best, AtMost(1.0));
    }
    add(false, Idle, Of::Value, Nobody, AtMost(1.0));
    add(true, Idle, Of::Value, Nobody, AtMost(0.5));
    for workload in [Handshakes, Encrypt1, Encrypt8, Decrypt8] {
        add(false, workload, Of::Cpu, envoy, AtMost(0.8));
        add(true, workload, Of::Cpu, haproxy, AtMost(1.0));
    }
    for workload in [Encrypt1, Encrypt8, Decrypt8] {
        add(false, workload, Of::Value, envoy, AtLeast(1.2));
    }
    for workload in [Through1, Through8] {
        // To be equal, give or take the same twentieth.
        add(false, workload, Of::Value, WithoutTls, AtLeast(1.0));
        add(false, workload, Of::Cpu, WithoutTls, AtMost(1.0));
    }
    for (workload, part) in [(Datagrams64, 0.3), (Datagrams1400, 0.7)] {
        add(false, workload, Of::Value, envoy, AtLeast(2.0));
        add(true, workload, Of::Value, dnat, AtLeast(part));
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(limit: Limit) -> Goal {
        let against = Against::Peer(Peer::Envoy);
        Goal { workload: Workload::Iperf1, of: Of::Value, against, limit, beyond: false }
    }

    /// Fifteen ratios, of which the fourth and the twelfth are the bounds.
    fn between(low: f64, high: f64) -> Vec<f64> {
        let middle = f64::midpoint(low, high);
        [vec![low; 4], vec![middle; 7], vec![high; 4]].concat()
    }

    #[test]
    fn at_least_is_reached_when_the_lower_bound_is_no_more_than_a_twentieth_below() {
        let goal = goal(Limit::AtLeast(1.4));
        assert_eq!(goal.verdict(&between(1.331, 1.6)), Verdict::Reached);
        assert_eq!(goal.verdict(&between(1.329, 1.6)), Verdict::NotReached);
        // However high the others are.
        assert_eq!(goal.verdict(&between(1.329, 9.0)), Verdict::NotReached);
        assert_eq!(goal.verdict(&between(1.4, 1.4)), Verdict::Reached);
    }

    #[test]
    fn at_most_is_reached_when_the_upper_bound_is_no_more_than_a_twentieth_above() {
        let goal = goal(Limit::AtMost(0.8));
        assert_eq!(goal.verdict(&between(0.5, 0.839)), Verdict::Reached);
        assert_eq!(goal.verdict(&between(0.5, 0.841)), Verdict::NotReached);
        assert_eq!(goal.verdict(&between(0.1, 0.841)), Verdict::NotReached);
    }

    /// The three best and the three worst of fifteen decide nothing.
    #[test]
    fn a_noisy_round_decides_nothing() {
        let mut ratios = vec![1.5; 12];
        ratios.extend([0.1; 3]);
        assert_eq!(goal(Limit::AtLeast(1.5)).verdict(&ratios), Verdict::Reached);
        ratios[0] = 0.1;
        assert_eq!(goal(Limit::AtLeast(1.5)).verdict(&ratios), Verdict::NotReached);
    }

    #[test]
    fn fewer_than_fifteen_pairs_say_nothing() {
        let goal = goal(Limit::AtLeast(1.0));
        assert_eq!(goal.verdict(&[9.0; 14]), Verdict::TooFewRounds);
        assert_eq!(goal.verdict(&[9.0; 15]), Verdict::Reached);
        assert_eq!(goal.verdict(&[]), Verdict::TooFewRounds);
    }

    /// A goal about work that a peer does not do would never have a pair.
    #[test]
    fn goals_are_about_what_is_measured() {
        for goal in all() {
            assert!(goal.workload.is_for(Peer::Vipgate), "{goal:?}");
            match goal.against {
                Against::Peer(peer) => assert!(goal.workload.is_for(peer), "{goal:?}"),
                Against::WithoutTls => assert!(goal.workload.without_tls().is_some(), "{goal:?}"),
                Against::Best | Against::Nobody => {}
            }
        }
    }
}
