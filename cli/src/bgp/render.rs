//! The sessions, as people read them.

use std::fmt::Write;

use vipgate_planner::bgp::PeerReport;

use super::NodePeers;

/// A paragraph for each node.
pub(super) fn render(nodes: &[NodePeers]) -> String {
    let mut out = String::new();
    for NodePeers { node, peers } in nodes {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "{node}");
        if peers.is_empty() {
            out.push_str("  no BGP sessions: no BGPPeer takes this node\n");
        }
        for (name, peer) in peers {
            let _ = writeln!(out, "  {}", headline(name, peer));
            for line in details(peer) {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

/// Who, where, and how it stands.
fn headline(name: &str, peer: &PeerReport) -> String {
    let address = peer.address.as_deref().unwrap_or("(not found yet)");
    format!("{name}  {address}  {} since {}", peer.state, peer.since)
}

fn details(peer: &PeerReport) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(asn) = peer.peer_as {
        let hold = match peer.hold_time {
            None | Some(0) => "no hold time".to_owned(),
            Some(seconds) => format!("hold time {seconds} s"),
        };
        details.push(format!("AS {asn}, {hold}, {} prefixes told", peer.prefixes));
    }
    if !peer.capabilities.is_empty() {
        details.push(format!("both can {}", peer.capabilities.join(", ")));
    }
    if let Some(bfd) = &peer.bfd {
        let echo = peer.bfd_echo.as_ref().map(|echo| format!(", echo {echo}"));
        details.push(format!("BFD {bfd}{}", echo.unwrap_or_default()));
    }
    details.extend(peer.last_error.clone());
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(state: &str) -> PeerReport {
        PeerReport {
            state: state.to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            address: Some("10.9.0.1:179".to_owned()),
            peer_as: None,
            capabilities: Vec::new(),
            hold_time: None,
            prefixes: 0,
            last_error: None,
            reason: None,
            bfd: None,
            bfd_echo: None,
        }
    }

    #[test]
    fn a_session_says_what_it_has_and_one_that_is_not_why() {
        let established = PeerReport {
            peer_as: Some(65002),
            capabilities: vec!["ipv4-unicast".to_owned(), "4-byte-as".to_owned()],
            hold_time: Some(9),
            prefixes: 3,
            bfd: Some("Up".to_owned()),
            bfd_echo: Some("active".to_owned()),
            ..peer("Established")
        };
        let refused = PeerReport {
            last_error: Some("peer says: OPEN Message Error / Bad Peer AS".to_owned()),
            address: None,
            ..peer("Connect")
        };
        let peers = [("lab/tor".to_owned(), established), ("lab/uplink".to_owned(), refused)];
        let nodes = [
            NodePeers { node: "one".to_owned(), peers: peers.into() },
            NodePeers { node: "two".to_owned(), peers: [].into() },
        ];
        assert_eq!(
            render(&nodes),
            "one\n\
             \x20 lab/tor  10.9.0.1:179  Established since 2026-01-01T00:00:00Z\n\
             \x20   AS 65002, hold time 9 s, 3 prefixes told\n\
             \x20   both can ipv4-unicast, 4-byte-as\n\
             \x20   BFD Up, echo active\n\
             \x20 lab/uplink  (not found yet)  Connect since 2026-01-01T00:00:00Z\n\
             \x20   peer says: OPEN Message Error / Bad Peer AS\n\
             \n\
             two\n\
             \x20 no BGP sessions: no BGPPeer takes this node\n"
        );
    }
}
