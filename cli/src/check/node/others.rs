//! Other programs on this host: those that announce addresses, and those that have a port.

use std::fs;
use std::io;

use vipgate_speaker::proxy::{Holder, listeners_on, receivers_on};

use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::{Pool, Port, Wanted};
use crate::run::group::PORT as GROUP;

/// Processes that are looked at, at most.
const MANY: usize = 65_536;
/// Listeners' ports that are looked at, at most: each reads a table of the kernel.
const PORTS: usize = 64;
/// Where metrics are told unless said otherwise.
const METRICS: u16 = 7473;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// As the kernel has it: not more than 15 bytes.
    pub(super) name: String,
    /// What it was started with.
    pub(super) command: String,
}

/// The processes in the network namespace of this one, and those whose namespace is not to be seen.
pub(super) fn processes() -> Vec<Process> {
    let own = fs::read_link("/proc/self/ns/net").ok();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let there = fs::read_link(entry.path().join("ns/net")).ok();
        if there.is_some() && there != own {
            return None;
        }
        let name = fs::read_to_string(entry.path().join("comm")).ok()?.trim().to_owned();
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
        Some(Process { pid, name, command })
    };
    entries.filter_map(process).take(MANY).collect()
}

/// Whether the processes that are seen are those of the host: kernel threads are seen from there only.
pub(super) fn sees_the_host() -> bool {
    fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd")
}

/// Who it is, of those that announce addresses.
fn announcer(process: &Process) -> Option<&'static str> {
    let Process { name, command, .. } = process;
    let by_name = [
        ("keepalived", "keepalived"),
        ("kube-vip", "kube-vip"),
        ("lbnodeagent", "PureLB"),
        ("openelb-speaker", "OpenELB"),
        ("ucarp", "ucarp"),
        ("vrrpd", "vrrpd"),
        ("loxilb", "LoxiLB"),
    ];
    let named = by_name.iter().find(|(program, _)| name == program).map(|(_, who)| *who);
    // Its name says little: these are its flags.
    let is_metallb = || {
        name == "speaker"
            && ["metallb", "--lb-class", "--port=7472"].iter().any(|flag| command.contains(flag))
    };
    named.or_else(|| is_metallb().then_some("MetalLB"))
}

/// `all`: whether these are all processes of the host.
pub(super) fn announcers(processes: &[Process], all: bool) -> Finding {
    let check = Check::ANNOUNCERS;
    let found = processes.iter().filter_map(|process| Some((announcer(process)?, process.pid)));
    let found: Vec<String> = found.map(|(who, pid)| format!("{who} (pid {pid})")).collect();
    match (&found[..], all) {
        ([], true) => Finding::ok(check, format!("none among {} processes", processes.len())),
        ([], false) => Finding::unseen(
            check,
            format!(
                "only the {} processes of this container are seen, and none of them does; look \
                 from the host, or \
                 in a pod with hostPID",
                processes.len()
            ),
        ),
        (found, _) => {
            Finding::warning(check, format!("{} announces addresses here", found.join(", ")))
        }
    }
}

/// Who has the ports that vipgate wants.
pub(super) fn ports(wanted: &Wanted) -> Vec<Finding> {
    let check = Check::PORTS;
    let mut findings = Vec::new();
    match (receivers_on(GROUP), listeners_on(METRICS)) {
        (Ok(group), Ok(metrics)) => {
            findings.extend(of_group(&group));
            findings.extend(of_metrics(&metrics));
        }
        (Err(error), _) | (_, Err(error)) => return vec![unread(&error)],
    }
    let mut ports: Vec<&Port> = wanted.ports.iter().collect();
    ports.sort_by_key(|one| (one.port, one.udp));
    ports.dedup_by_key(|one| (one.port, one.udp));
    for port in ports.iter().take(PORTS) {
        let holders = if port.udp { receivers_on(port.port) } else { listeners_on(port.port) };
        match holders {
            Ok(holders) => findings.extend(of_listener(port, &holders, &wanted.pools)),
            Err(error) => return vec![unread(&error)],
        }
    }
    let left = ports.len().saturating_sub(PORTS);
    if left > 0 {
        findings.push(Finding::unseen(check, format!("{left} more ports of listeners")));
    }
    if findings.is_empty() {
        let ours = "7947/UDP and 7473/TCP are free, or vipgate has them";
        findings.push(match ports.len() {
            0 => Finding::ok(check, format!("{ours}; no listener is known")),
            count => Finding::ok(
                check,
                format!(
                    "{ours}; the same holds for {}",
                    match count {
                        1 => "the port of the one listener".to_owned(),
                        _ => format!("the ports of {count} listeners"),
                    }
                ),
            ),
        });
    }
    findings
}

fn unread(error: &io::Error) -> Finding {
    Finding::unseen(Check::PORTS, format!("/proc/net does not say who has a port: {error}"))
}

/// Who has a port besides vipgate.
enum Other {
    Known(String),
    /// A process that may not be looked at from here, so it may be vipgate.
    Unseen,
}

/// The first of these that is not vipgate; those before others that are known.
fn other<'a>(holders: impl IntoIterator<Item = &'a Holder>) -> Option<Other> {
    let mut unseen = None;
    for holder in holders {
        match &holder.process {
            Some((name, _)) if name.contains("vipgate") => {}
            Some(_) => return Some(Other::Known(holder.to_string())),
            None => unseen = Some(Other::Unseen),
        }
    }
    unseen
}

/// A finding of a port that vipgate wants.
fn of_port(what: &str, other: Other, wrong: impl Fn(Check, String) -> Finding) -> Finding {
    match other {
        Other::Known(who) => wrong(Check::PORTS, format!("{what}: {who}")),
        Other::Unseen => {
            let why = "is in use, by a process that may not be looked at from here: run it as root";
            Finding::unseen(Check::PORTS, format!("{what} {why}"))
        }
    }
}

fn of_group(holders: &[Holder]) -> Option<Finding> {
    let mend = "stop it, or give every host another port: `--group-address IP:PORT`";
    let wrong = |check, found| Finding::error(check, found).mend(mend);
    Some(of_port("7947/UDP, of the group", other(holders)?, wrong))
}

fn of_metrics(holders: &[Holder]) -> Option<Finding> {
    let mend = "stop it, or tell metrics elsewhere: `--metrics IP:PORT`";
    let wrong = |check, found| Finding::warning(check, found).mend(mend);
    Some(of_port("7473/TCP, of the metrics", other(holders)?, wrong))
}

fn of_listener(port: &Port, holders: &[Holder], pools: &[Pool]) -> Option<Finding> {
    let Port { port, udp, gateway } = port;
    let transport = if *udp { "UDP" } else { "TCP" };
    let others = holders.iter().filter(|holder| {
        let at = holder.listens_on.ip().to_canonical();
        at.is_unspecified() || pools.iter().any(|pool| pool.contains(at))
    });
    let exact = |holder: &&Holder| !holder.listens_on.ip().is_unspecified();
    let (exact, wide): (Vec<&Holder>, Vec<&Holder>) = others.partition(exact);
    let what = format!("{port}/{transport} of {gateway}");
    if let Some(other) = other(exact) {
        return Some(of_port(&what, other, Finding::error));
    }
    let detour = |check, found| {
        Finding::warning(check, format!("{found}, so it is served by a detour"))
            .mend("nothing while it serves; else bind that program to an address of the host")
    };
    Some(of_port(&what, other(wide)?, detour))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::finding::Verdict;

    fn process(name: &str, command: &str) -> Process {
        Process { pid: 7, name: name.into(), command: command.into() }
    }

    #[test]
    fn those_that_announce_are_told_by_name_and_metallb_by_its_flags() {
        let harmless =
            [process("speaker", "/usr/bin/speaker-test"), process("vipgate", "vipgate run")];
        assert_eq!(announcers(&harmless, true).verdict, Verdict::Ok);
        let unknown = announcers(&harmless, false);
        assert_eq!(unknown.verdict, Verdict::NotLookedAt);
        assert!(unknown.found.contains("the 2 processes"), "{}", unknown.found);
        for (one, who) in [
            (process("keepalived", "/usr/sbin/keepalived -n"), "keepalived (pid 7)"),
            (process("speaker", "/speaker --port=7472 --log-level=info"), "MetalLB (pid 7)"),
            (process("lbnodeagent", ""), "PureLB (pid 7)"),
        ] {
            let found = announcers(&[one], false);
            assert_eq!(found.verdict, Verdict::Warning);
            assert!(found.found.starts_with(who), "{}", found.found);
        }
    }

    fn holder(at: &str, name: &str) -> Holder {
        Holder { listens_on: at.parse().unwrap(), process: Some((name.into(), 812)) }
    }

    #[test]
    fn a_port_on_a_vip_is_an_error_and_one_on_all_addresses_a_warning() {
        let pool = json!({"metadata": {"name": "lan"}, "spec": {"addresses": ["192.0.2.240"]}});
        let pools = [Pool::of_object(&pool)];
        let port = Port { port: 80, udp: false, gateway: "Gateway default/web".into() };
        let found = |at: &str, name: &str| of_listener(&port, &[holder(at, name)], &pools);
        let exact = found("192.0.2.240:80", "nginx").unwrap();
        assert_eq!(exact.verdict, Verdict::Error);
        assert_eq!(
            exact.found,
            "80/TCP of Gateway default/web: nginx (pid 812), which listens on 192.0.2.240:80"
        );
        assert_eq!(found("0.0.0.0:80", "nginx").unwrap().verdict, Verdict::Warning);
        assert_eq!(found("[::]:80", "nginx").unwrap().verdict, Verdict::Warning);
        assert_eq!(found("192.0.2.5:80", "nginx"), None, "an address of the host");
        assert_eq!(found("192.0.2.240:80", "vipgate"), None, "it is ours");
        assert_eq!(
            of_group(&[holder("0.0.0.0:7947", "memberlist")]).unwrap().verdict,
            Verdict::Error
        );
        assert_eq!(of_group(&[holder("0.0.0.0:7947", "vipgate-group")]), None);
        let unseen = |at: &str| Holder { listens_on: at.parse().unwrap(), process: None };
        let ports = [
            of_group(&[unseen("0.0.0.0:7947")]),
            of_metrics(&[unseen("127.0.0.1:7473")]),
            of_listener(&port, &[unseen("192.0.2.240:80")], &pools),
        ];
        for found in ports.map(Option::unwrap) {
            assert_eq!(found.verdict, Verdict::NotLookedAt, "it may be vipgate: {}", found.found);
        }
        let both = [unseen("0.0.0.0:7947"), holder("0.0.0.0:7947", "memberlist")];
        assert_eq!(of_group(&both).unwrap().verdict, Verdict::Error);
        assert_eq!(of_metrics(&[holder("127.0.0.1:7473", "x")]).unwrap().verdict, Verdict::Warning);
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listeners_on(port).unwrap();
        assert_eq!(found[0].listens_on, socket.local_addr().unwrap());
        assert_eq!(found[0].process.as_ref().unwrap().1, std::process::id());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = receivers_on(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(found[0].listens_on, socket.local_addr().unwrap());
        assert!(processes().iter().any(|one| one.pid == std::process::id()));
    }
}
