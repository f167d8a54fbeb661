//! The lab for ordinary users: in namespaces of their own, and with a clear message without.
//! The children run as `nobody`, or, where the tests themselves run in a user namespace that has
//! no such user, as a root without the capabilities for a lab.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use vipgate_lab::{ArpOp, Lab, enter, servers};

/// Runs one of the ignored tests below without privilege, started by `wrapper`. The program is copied, because its
/// build directory may be closed to that user.
fn as_ordinary_user(wrapper: &[&str], test: &str) -> Result<Output> {
    let directory = tempfile::tempdir()?;
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
    let program = directory.path().join("unprivileged");
    // Not by this process: a child that another test forks meanwhile would have the copy open
    // for writing, and the kernel does not execute such a file.
    let copied = Command::new("cp").arg(std::env::current_exe()?).arg(&program).status()?;
    ensure!(copied.success(), "cannot copy this program: {copied}");
    let all_users_exist = std::fs::read_to_string("/proc/self/uid_map")?.contains("4294967295");
    let drop_privilege: &[&str] = if all_users_exist && wrapper.is_empty() {
        &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    } else {
        // What root needs to be root of yet another namespace (user_namespaces(7)); no more.
        &["setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap", "--"]
    };
    let words = [wrapper, drop_privilege].concat();
    let mut command = Command::new(words[0]);
    let output = command
        .args(&words[1..])
        .arg(&program)
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .current_dir("/")
        .output()?;
    Ok(output)
}

fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
#[ignore = "started by a_lab_without_privilege"]
fn child_enters_and_makes_a_lab() -> Result<()> {
    // Replaces this process, which comes by here once more.
    enter::in_namespaces()?;
    let lab = Lab::new("user")?;
    let lan = lab.bridge("lan")?;
    let (client, server) = (lab.node("client")?, lab.node("server")?);
    let link_c = client.join(&lan, "10.77.0.1/24")?;
    let link_s = server.join(&lan, "10.77.0.2/24")?;
    server.sysctl("net.ipv4.ip_forward", "1")?;
    let echo = servers::echo(&server, SocketAddr::new(link_s.ip(), 0), "hello")?;
    let capture = server.capture("eth0", "arp")?;
    client.enter(|| TcpStream::connect(echo.address()))?;
    let arps: Vec<_> = capture.stop()?.iter().filter_map(|frame| frame.arp()).collect();
    ensure!(
        arps.iter().any(|arp| arp.op == ArpOp::Request && arp.eth_src == link_c.mac()),
        "no request among {arps:?}"
    );
    println!("all of it worked");
    Ok(())
}

#[test]
fn a_lab_without_privilege() -> Result<()> {
    let output = as_ordinary_user(&[], "child_enters_and_makes_a_lab")?;
    let printed = text(&output);
    ensure!(output.status.success(), "is it that user namespaces are forbidden here?\n{printed}");
    assert!(printed.contains("all of it worked"), "{printed}");
    Ok(())
}

#[test]
#[ignore = "started by without_privilege_a_lab_fails_and_says_what_to_do"]
fn child_makes_a_lab() {
    assert!(!enter::privileged());
    let error = Lab::new("refused").unwrap_err();
    println!("refused: {error}");
}

#[test]
fn without_privilege_a_lab_fails_and_says_what_to_do() -> Result<()> {
    let output = as_ordinary_user(&[], "child_makes_a_lab")?;
    let printed = text(&output);
    ensure!(output.status.success(), "{printed}");
    for part in ["refused: network namespaces need", "CAP_NET_ADMIN", "make test", "as root"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    Ok(())
}

#[test]
#[ignore = "started by where_namespaces_are_forbidden_the_advice_says_how_to_allow_them"]
fn child_is_refused() {
    println!("refused: {}", enter::in_namespaces().unwrap_err());
}

#[test]
fn where_namespaces_are_forbidden_the_advice_says_how_to_allow_them() -> Result<()> {
    // The limit is set in a user namespace, for those below it; the host's stays.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let forbidding = ["unshare", "--user", "--map-root-user", "sh", "-euc", script, "sh"];
    let output = as_ordinary_user(&forbidding, "child_is_refused")?;
    let printed = text(&output);
    ensure!(output.status.success(), "{printed}");
    for part in ["cannot make a user namespace here", "sudo sysctl -w user.max_user_namespaces="] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    Ok(())
}
