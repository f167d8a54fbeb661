//! The tree that `vipgate status` prints: problems first, then VIP → listener → route → backend.

use std::fmt::Write;

use super::report::{BackendStatus, ListenerStatus, PortStatus, StatusReport, VipStatus};

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
            .collect(),
    }
}

fn branch_of_listener(listener: &ListenerStatus, colour: bool) -> Branch {
    let mut text = format!(
        "{} {} :{}",
        mark(listener.failure.is_none(), colour),
        listener.name,
        listener.port
    );
    match &listener.failure {
        Some(why) => {
            let _ = write!(text, "  {why}");
        }
        None => {
            let _ = write!(text, "  {} accepted, {} open", listener.accepted, listener.open);
        }
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
            below: route.backends.iter().map(|b| branch_of_backend(b, colour)).collect(),
        });
    }
    if listener.routes.is_empty() {
        below.push(leaf("no route: connections are accepted and reset".to_owned()));
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

fn branch_of_backend(backend: &BackendStatus, colour: bool) -> Branch {
    let mut text = format!("{}  {:.1} %", backend.backend, backend.share * 100.0);
    if let Some(why) = &backend.unusable {
        let _ = write!(text, "  {} reset: {why}", mark(false, colour));
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
