//! What this host tells: of itself by /proc and rtnetlink, of what `ip`, `nft` and `journalctl` know where they
//! are there, and of the vipgate that runs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use vipgate_speaker::host;

use super::archive::Archive;
use crate::args::SysdumpArgs;
use crate::ask;
use crate::check::{pools, sysctls};
use crate::metrics::Place;
use crate::run::paths;
use crate::status::report::StatusReport;

/// A program, or the running vipgate, may take so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// VIPs of which it is asked why they are where they are.
pub(super) const VIPS: usize = 20;
/// The longest answer about metrics.
const METRICS: u64 = 16 << 20;

/// Files of the kernel. None of them has a secret: no environments, no command lines, no keys.
const FILES: [&str; 17] = [
    "/proc/version",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/net/route",
    "/proc/net/ipv6_route",
    "/proc/net/arp",
    "/proc/net/if_inet6",
    "/proc/net/fib_trie",
    "/proc/net/sockstat",
    "/proc/net/sockstat6",
    "/proc/net/snmp",
    "/proc/net/snmp6",
    "/proc/net/netstat",
    "/proc/net/softnet_stat",
    "/proc/net/ip_tables_names",
    "/etc/os-release",
];

/// Programs that say more, where they are there.
const COMMANDS: [(&str, &[&str]); 11] = [
    ("ip-address.json", &["ip", "-d", "-j", "address"]),
    ("ip-route.json", &["ip", "-j", "route", "show", "table", "all"]),
    ("ip-6-route.json", &["ip", "-6", "-j", "route", "show", "table", "all"]),
    ("ip-neighbour.json", &["ip", "-j", "neighbour"]),
    ("ip-rule.json", &["ip", "-j", "rule"]),
    ("ip-6-rule.json", &["ip", "-6", "-j", "rule"]),
    ("nft-arp.txt", &["nft", "list", "table", "arp", "vipgate"]),
    ("nft-ip.txt", &["nft", "list", "table", "ip", "vipgate"]),
    ("nft-ip6.txt", &["nft", "list", "table", "ip6", "vipgate"]),
    ("sockets.txt", &["ss", "-s"]),
    (
        "journal.txt",
        &["journalctl", "--no-pager", "-o", "short-iso-precise", "-n", "20000", "_COMM=vipgate"],
    ),
];

/// Collects all of it.
pub(super) async fn collect<W: Write>(
    archive: &mut Archive<W>,
    args: &SysdumpArgs,
) -> io::Result<()> {
    let about = &args.about;
    // First, as it has the values that are to be found nowhere else.
    if let Some(directory) = &about.manifests {
        let (objects, problems) = pools::objects_of(directory);
        archive.lines("host/manifests.jsonl", &objects)?;
        archive.text("host/manifests-problems.txt", &problems.join("\n"))?;
    }
    match host::look().await {
        Ok(seen) => {
            let links = json!({"links": seen.links, "vips": seen.vips, "mtus": seen.mtus});
            archive.json("host/links.json", &links)?;
            archive.json("host/sysctls.json", &json!(sysctls(&seen)))?;
        }
        Err(error) => archive.failed("host/links.json", error),
    }
    for file in FILES {
        let part = format!("host/{}.txt", file.trim_start_matches('/').replace('/', "-"));
        add_file(archive, &part, Path::new(file))?;
    }
    processes(archive)?;
    for (part, command) in COMMANDS {
        add_output(archive, &format!("host/{part}"), command).await?;
    }
    running(archive, about.admin.socket.as_deref()).await?;
    match args.metrics {
        Place::Off => {}
        Place::At(address) => match metrics(address).await {
            Ok(text) => archive.text("vipgate/metrics.txt", &text)?,
            Err(error) => archive.failed("vipgate/metrics.txt", format!("{address}: {error}")),
        },
    }
    Ok(())
}

fn add_file<W: Write>(archive: &mut Archive<W>, part: &str, file: &Path) -> io::Result<()> {
    match std::fs::read(file) {
        Ok(bytes) => archive.text(part, &String::from_utf8_lossy(&bytes)),
        // A kernel without iptables or IPv6 has no such file, which is no news.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            archive.failed(part, error);
            Ok(())
        }
    }
}

/// Limits and state of the processes of vipgate.
fn processes<W: Write>(archive: &mut Archive<W>) -> io::Result<()> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = |path: &Path| {
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        name.trim() == "vipgate"
    };
    let own = std::process::id().to_string();
    for path in entries.map(|entry| entry.path()).filter(|path| named(path)).take(16) {
        let pid = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `self` and `thread-self` are the one that asks, as its number is.
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        for file in ["status", "limits"] {
            add_file(archive, &format!("host/process-{pid}-{file}.txt"), &path.join(file))?;
        }
    }
    Ok(())
}

/// Runs a program; nothing is left of one that takes too long.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("there is no `{program}` here"));
        }
        Err(error) => return Err(format!("`{program}`: {error}")),
    };
    match timeout(PATIENCE, child.wait_with_output()).await {
        Ok(output) => output.map_err(|error| format!("`{program}`: {error}")),
        Err(_) => Err(format!("`{program}` took longer than {PATIENCE:?}")),
    }
}

async fn add_output<W: Write>(
    archive: &mut Archive<W>,
    part: &str,
    command: &[&str],
) -> io::Result<()> {
    let (program, arguments) = (command[0], &command[1..]);
    match run(program, arguments).await {
        Ok(output) => {
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                if is_absent(program, &said) {
                    return archive.text(part, "no such table\n");
                }
                let said = said.lines().next().unwrap_or("it failed");
                archive.failed(part, format!("`{}`: {said}", command.join(" ")));
            }
            if output.stdout.is_empty() {
                return Ok(());
            }
            archive.text(part, &String::from_utf8_lossy(&output.stdout))
        }
        Err(error) => {
            archive.failed(part, error);
            Ok(())
        }
    }
}

/// Whether `nft` says that a table is not there: so it is where no VIP was yet, and on a host with loopback only.
fn is_absent(program: &str, said: &str) -> bool {
    program == "nft"
        && said.lines().next().is_some_and(|line| line.ends_with("No such file or directory"))
}

/// What the running vipgate says, and why each VIP is where it is.
async fn running<W: Write>(archive: &mut Archive<W>, socket: Option<&Path>) -> io::Result<()> {
    let report = match ask::process::<StatusReport>(socket, "status") {
        Ok(report) => report,
        Err(error) => {
            archive.failed("vipgate/status.json", format!("{error:#}"));
            return Ok(());
        }
    };
    archive.json("vipgate/status.json", &json!(report))?;
    // Said expressly: a kubeconfig in the environment would go before it.
    let socket = paths::admin_socket(socket).display().to_string();
    let whom = ["--admin".to_owned(), socket];
    for vip in report.vips.iter().take(VIPS) {
        why(archive, &vip.address.to_string(), whom.iter()).await?;
    }
    if report.vips.len() > VIPS {
        archive.left_out(
            "vipgate/why",
            &format!("{} of {} VIPs", report.vips.len() - VIPS, report.vips.len()),
        );
    }
    Ok(())
}

/// Asks as anybody would, by this very program.
pub(super) async fn why<W: Write>(
    archive: &mut Archive<W>,
    vip: &str,
    whom: impl Iterator<Item = &String>,
) -> io::Result<()> {
    let part = format!("vipgate/why-{}.json", vip.replace(':', "_"));
    let whom: Vec<&str> = whom.map(String::as_str).collect();
    let arguments: Vec<&str> = ["why", vip, "-o", "json"].into_iter().chain(whom).collect();
    match run("/proc/self/exe", &arguments).await {
        Ok(output) => match serde_json::from_slice(&output.stdout) {
            Ok(answer) => archive.json(&part, &answer),
            Err(_) => {
                archive.failed(&part, String::from_utf8_lossy(&output.stderr).trim());
                Ok(())
            }
        },
        Err(error) => {
            archive.failed(&part, error);
            Ok(())
        }
    }
}

async fn metrics(address: SocketAddr) -> io::Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let question =
            format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(METRICS).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer =
        timeout(PATIENCE, asked).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(io::Error::other("it is not vipgate that answers there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_not_there_is_no_error() {
        let said =
            "Error: No such file or directory\nlist table ip vipgate\n              ^^^^^^^\n";
        assert!(is_absent("nft", said));
        assert!(!is_absent("nft", "Operation not permitted (you must be root)\n"));
        assert!(!is_absent("ip", said));
        assert!(!is_absent("nft", ""));
    }
}
