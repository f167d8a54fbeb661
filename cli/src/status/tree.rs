//! The tree that `vipgate status` prints: problems first, then VIP → listener → route → backend.

use std::fmt::Write;

use vipgate_planner::bgp::PeerReport;

use super::report::{
    BackendStatus, ListenerStatus, PolicyLine, PortStatus, StatusReport, VipStatus,
};

/// A line with what hangs below it.
struct Branch {
    text: String,
    below: Vec<Branch>,
}

/// Draws the report; `colour` for terminals.
pub(crate) fn render(report: &StatusReport, colour: bool) -> String {
    let mut out = format!("{} · vipgate {}\n", report.node, report.version);
    if !report.problems.is_empty() {
        let _ = writeln!(out, "\n{}", paint("Problems", RED, colour));
        for problem in &report.problems {
            let _ = writeln!(out, "  {} {problem}", paint("✗", RED, colour));
        }
    }
    if !report.notes.is_empty() {
        out.push_str("\nNotes\n");
        for note in &report.notes {
            let _ = writeln!(out, "  • {note}");
        }
    }
    if report.vips.is_empty() {
        out.push_str("\nNo VIPs: no Gateway of a class of ours has an address.\n");
    }
    for vip in &report.vips {
        out.push('\n');
        draw(&branch_of_vip(vip, colour), "", "", &mut out);
    }
    if !report.policies.is_empty() {
        out.push_str("\nPolicies\n");
        for PolicyLine { policy, ancestor, healthy, message } in &report.policies {
            let mark = mark(*healthy, colour);
            let _ = writeln!(out, "  {mark} {policy}  {ancestor}: {message}");
        }
    }
    if !report.peers.is_empty() {
        out.push_str("\nBGP\n");
        for (name, peer) in &report.peers {
            let _ = writeln!(out, "  {}", line_of_peer(name, peer, colour));
        }
    }
    out
}

const RED: &str = "31";
const GREEN: &str = "32";

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn mark(healthy: bool, colour: bool) -> String {
    if healthy { paint("✓", GREEN, colour) } else { paint("✗", RED, colour) }
}

fn draw(branch: &Branch, first: &str, rest: &str, out: &mut String) {
    let _ = writeln!(out, "{first}{}", branch.text);
    for (index, below) in branch.below.iter().enumerate() {
        let last = index + 1 == branch.below.len();
        let (elbow, bar) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(below, &format!("{rest}{elbow}"), &format!("{rest}{bar}"), out);
    }
}

fn line_of_peer(name: &str, peer: &PeerReport, colour: bool) -> String {
    let established = peer.is_established();
    let address = peer.address.as_deref().unwrap_or("(not found yet)");
    let mut line = format!(
        "{} {name}  {address}  {} since {}",
        mark(established, colour),
        peer.state,
        peer.since
    );
    if established {
        let _ = write!(line, ", {} prefixes told", peer.prefixes);
    }
    if let Some(bfd) = &peer.bfd {
        let _ = write!(line, ", BFD {bfd}");
    }
    if let Some(why) = &peer.last_error {
        let _ = write!(line, ": {why}");
    }
    line
}

fn branch_of_vip(vip: &VipStatus, colour: bool) -> Branch {
    Branch {
        text: format!(
            "{} {}  {}  ({}, pool {})",
            mark(vip.healthy, colour),
            vip.address,
            vip.state,
            vip.gateway,
            vip.pool
        ),
        below: vip
            .listeners
            .iter()
            .map(|l| branch_of_listener(l, colour))
            .chain(vip.ports.iter().map(leaf_of_port))
            .chain(vip.probe.iter().filter(|probe| !probe.success).map(|probe| {
                leaf(format!("{} asked for from here: {}", mark(false, colour), probe.message))
            }))
            .collect(),
    }
}

fn branch_of_listener(listener: &ListenerStatus, colour: bool) -> Branch {
    let (transport, begun, fate) = match listener.is_udp() {
        true => ("/udp", "sessions", "dropped"),
        false => ("", "accepted", "reset"),
    };
    let mut text = format!(
        "{} {} :{}{transport}",
        mark(listener.failure.is_none(), colour),
        listener.name,
        listener.port
    );
    match &listener.failure {
        Some(why) => {
            let _ = write!(text, "  {why}");
        }
        None => {
            let _ = write!(text, "  {} {begun}, {} open", listener.accepted, listener.open);
        }
    }
    if let Some(dropped) = listener.dropped.filter(|dropped| *dropped > 0) {
        let _ = write!(text, ", {dropped} datagrams dropped");
    }
    if listener.reset > 0 {
        let _ = write!(text, ", {} reset", listener.reset);
    }
    let mut below = Vec::new();
    for route in &listener.routes {
        below.push(Branch {
            text: match &route.hostname {
                Some(name) => format!("{name}  {}", route.route),
                None => route.route.clone(),
            },
            below: route.backends.iter().map(|b| branch_of_backend(b, fate, colour)).collect(),
        });
    }
    if listener.routes.is_empty() {
        let fate = match listener.is_udp() {
            true => "datagrams are dropped",
            false => "connections are accepted and reset",
        };
        below.push(leaf(format!("no route: {fate}")));
    }
    for route in &listener.superseded {
        below.push(leaf(format!("{route}  attached, but an older route has this listener")));
    }
    Branch { text, below }
}

fn leaf_of_port(port: &PortStatus) -> Branch {
    leaf(format!(
        "port :{}  {} accepted, {} have not said yet which listener they mean, {} ended before",
        port.port, port.accepted, port.undecided, port.ended
    ))
}

fn branch_of_backend(backend: &BackendStatus, fate: &str, colour: bool) -> Branch {
    let mut text = format!("{}  {:.1} %", backend.backend, backend.share * 100.0);
    if let Some(why) = &backend.unusable {
        let _ = write!(text, "  {} {fate}: {why}", mark(false, colour));
    }
    let below = backend
        .endpoints
        .iter()
        .map(|endpoint| {
            let mark = mark(endpoint.healthy, colour);
            leaf(format!("{mark} {}  {}", endpoint.address, endpoint.state))
        })
        .collect();
    Branch { text, below }
}

fn leaf(text: String) -> Branch {
    Branch { text, below: Vec::new() }
}

#[cfg(test)]
mod tests;
