//! From what nodes say of a VIP to why one of them has it.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use vipgate_planner::ownership::{Candidate, Grounds, Offer, choose, grounds};

use crate::status::report::NodeStanding;

/// Everything that is known of a VIP.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explanation {
    vip: IpAddr,
    pool: String,
    /// Gateways and Services that have it.
    users: Vec<String>,
    /// The advertisements that select its pool.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    advertisements: Vec<String>,
    /// The node that has it.
    owner: Option<String>,
    /// The node that a VIP without owner would go to.
    choice: Option<String>,
    /// Why it is where it is.
    why: String,
    nodes: Vec<NodeStanding>,
}

impl Explanation {
    pub(crate) fn new(
        vip: IpAddr,
        pool: String,
        users: Vec<String>,
        advertisements: Vec<String>,
        nodes: Vec<NodeStanding>,
    ) -> Self {
        let candidates = || {
            let candidates = nodes.iter().filter(|node| node.candidate);
            candidates.map(|node| Candidate { name: &node.key, offer: offer(node) })
        };
        let choice = choose(vip, candidates());
        let choice = choice.and_then(|one| nodes.iter().find(|node| node.key == one.name));
        let by = grounds(vip, candidates()).map(words).unwrap_or_default();
        let owners: Vec<&NodeStanding> = nodes.iter().filter(|node| node.owner).collect();
        let routed = nodes.iter().any(|node| node.routers.is_some());
        let why = match (&owners[..], choice) {
            ([], None) if routed => "every node that can have it announces it".to_owned(),
            ([], None) => "no node is a candidate, so nobody announces it".to_owned(),
            ([], Some(choice)) => format!("{} is about to take it: {by}", choice.name),
            ([owner], Some(choice)) if owner.key == choice.key => by.to_owned(),
            ([_], Some(choice)) => format!(
                "it had it before, and the present owner stays; without an owner it would go to {}: \
                 {by} (`vipgate rebalance` moves it there)",
                choice.name
            ),
            ([_], None) => "it has it, and is about to let go".to_owned(),
            (several, _) => {
                let names: Vec<&str> = several.iter().map(|owner| owner.name.as_str()).collect();
                format!("{} have it at once, which lasts for a moment only", names.join(" and "))
            }
        };
        let owner = owners.first().map(|owner| owner.name.clone());
        let choice = choice.map(|choice| choice.name.clone());
        Self { vip, pool, users, advertisements, owner, choice, why, nodes }
    }

    /// Not all nodes were read, so the choice among them is not known, and why.
    pub(super) fn leave_open(&mut self, unlisted: String) {
        self.choice = None;
        self.why = format!("why is not known: {unlisted}");
    }

    /// Why it is where it is.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// From which nodes routers know it, where any are to.
    fn routed(&self) -> Option<String> {
        let routers = self.nodes.iter().filter_map(|node| Some((&node.name, node.routers?)));
        let routers: Vec<(&String, u32)> = routers.collect();
        let told = routers.iter().filter(|(_, routers)| *routers > 0);
        let told: Vec<String> = told.map(|(name, count)| format!("{name} ({count})")).collect();
        match (&routers[..], &told[..]) {
            ([], _) => None,
            (_, []) => Some("no router knows it".to_owned()),
            (_, told) => Some(format!("routers know it from {}", told.join(", "))),
        }
    }
}

fn offer(node: &NodeStanding) -> Offer {
    Offer { weight: node.weight, bound: node.bound, leaving: node.leaving, ..Offer::default() }
}

fn words(grounds: Grounds) -> &'static str {
    match grounds {
        Grounds::Only => "it is the only candidate",
        Grounds::Stays => "all other candidates give their VIPs away",
        Grounds::Weight => "it has the highest weight (preferredNodeSelectors)",
        Grounds::Listeners => "it has bound more of the listeners than others of its weight",
        Grounds::Hash => {
            "it is first by the hash of node and address, among candidates that are alike"
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}, pool {}", self.vip, self.users.join(", "), self.pool)?;
        if !self.advertisements.is_empty() {
            writeln!(f, "advertised by {}", self.advertisements.join(", "))?;
        }
        let routed = self.routed();
        match &self.owner {
            None if self.choice.is_none() && routed.is_some() => {
                writeln!(f, "{}: {}\n", routed.unwrap_or_default(), self.why)?;
            }
            Some(owner) => {
                let since = self.nodes.iter().find(|node| node.owner);
                let since = since.and_then(|node| node.since.as_deref());
                let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
                writeln!(f, "{owner} has it{since}: {}", self.why)?;
                writeln!(f, "{}", routed.map(|routed| format!("{routed}\n")).unwrap_or_default())?;
            }
            None => writeln!(f, "nobody has it: {}\n", self.why)?,
        }
        let width = self.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0);
        for node in &self.nodes {
            let is = match (node.owner, node.candidate, node.routers) {
                (true, ..) => "owner",
                (false, true, _) => "candidate",
                (false, false, Some(1..)) => "routed",
                (false, false, Some(0)) => "held",
                (false, false, None) => "excluded",
            };
            write!(f, "{:width$}  {is:9}  weight {}", node.name, node.weight)?;
            if let Some(reason) = &node.reason {
                write!(f, "  {reason}")?;
            }
            match &node.message {
                Some(message) => writeln!(f, ": {message}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, owner: bool, weight: u32) -> NodeStanding {
        NodeStanding {
            name: name.to_owned(),
            key: format!("{name}:7947"),
            owner,
            candidate: true,
            weight,
            ..NodeStanding::default()
        }
    }

    fn explained(nodes: Vec<NodeStanding>) -> String {
        let users = vec!["Gateway default/web".to_owned()];
        let vip = "192.0.2.1".parse().unwrap();
        Explanation::new(vip, "lan".to_owned(), users, Vec::new(), nodes).to_string()
    }

    #[test]
    fn the_owner_is_named_with_why_it_is_it() {
        for (nodes, said) in [
            (vec![node("a", true, 0)], "a has it: it is the only candidate"),
            (vec![node("a", false, 1), node("b", true, 2)], "b has it: it has the highest weight"),
            (
                vec![node("a", false, 2), node("b", true, 1)],
                "b has it: it had it before, and the present owner stays; without an owner it would \
                 go to a: it has the highest weight",
            ),
            (vec![node("a", false, 0)], "nobody has it: a is about to take it"),
            (vec![], "nobody has it: no node is a candidate"),
        ] {
            let text = explained(nodes);
            assert!(text.contains(said), "{said}\n{text}");
        }
    }

    #[test]
    fn what_routers_know_is_said_by_node_and_what_hinders_a_session_too() {
        let by_bgp = |name: &str, routers: u32| NodeStanding {
            candidate: false,
            routers: Some(routers),
            ..node(name, false, 0)
        };
        let mute = NodeStanding {
            reason: Some("NoRouter".to_owned()),
            message: Some("BGPPeer lab/tor: no answer within 10 s".to_owned()),
            ..by_bgp("b", 0)
        };
        let text = explained(vec![by_bgp("a", 2), mute.clone()]);
        assert!(
            text.contains("routers know it from a (2): every node that can have it announces it\n"),
            "{text}"
        );
        assert!(text.contains("a  routed     weight 0\n"), "{text}");
        assert!(
            text.contains("b  held       weight 0  NoRouter: BGPPeer lab/tor: no answer"),
            "{text}"
        );
        let text = explained(vec![mute]);
        assert!(text.contains("no router knows it"), "{text}");
        // On the LAN by one, and to routers by another.
        let text = explained(vec![by_bgp("a", 2), node("b", true, 0)]);
        assert!(
            text.contains("b has it: it is the only candidate\nrouters know it from a (2)\n"),
            "{text}"
        );
    }

    #[test]
    fn an_excluded_node_is_never_the_choice_and_says_why() {
        let excluded = NodeStanding {
            candidate: false,
            reason: Some("NodeNotSelected".to_owned()),
            message: Some("give it labels".to_owned()),
            ..node("a", false, 100)
        };
        let text = explained(vec![excluded, node("b", true, 0)]);
        assert!(text.contains("b has it: it is the only candidate"), "{text}");
        assert!(
            text.contains("a  excluded   weight 100  NodeNotSelected: give it labels"),
            "{text}"
        );
    }

    #[test]
    fn one_that_gives_way_is_no_choice_while_there_is_another() {
        let leaving = NodeStanding { leaving: true, ..node("a", true, 100) };
        let text = explained(vec![leaving, node("b", false, 0)]);
        assert!(
            text.contains("would go to b: all other candidates give their VIPs away"),
            "{text}"
        );
    }
}
