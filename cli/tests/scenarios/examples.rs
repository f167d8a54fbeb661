//! The examples of the documentation, with the servers they are about.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vipgate_lab::{Program, servers};

use crate::site::{SOON, Site, VIP, VIPGATE};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples")
}

#[test]
fn tcp_two_services_answers_arp_and_reaches_each_service() {
    let site = Site::new("two-svc");
    let _foo = site.echo("10.77.0.21:6000");
    let _bar = site.echo("10.77.0.22:6000");
    let vipgate = site.start_with(&examples().join("tcp-two-services"), &[]);
    site.healthy(&vipgate);
    assert_eq!(site.who_has(VIP), [site.on_node.mac().to_string()], "one reply, from the node");
    for _ in 0..5 {
        assert_eq!(site.greeting(&format!("{VIP}:8080")).unwrap(), "10.77.0.21:6000");
        assert_eq!(site.greeting(&format!("{VIP}:8090")).unwrap(), "10.77.0.22:6000");
    }
    let ping = site.client.run("ping", ["-c", "1", "-W", "2", VIP]);
    assert!(ping.is_ok(), "the VIP answers ping: {ping:?}");
}

#[test]
fn two_mysql_reaches_two_mariadb_servers() {
    let site = Site::new("mysql");
    let (orders, customers) = ("10.77.0.41:3306", "10.77.0.42:3306");
    for address in [orders, customers] {
        site.server_address(address.parse::<std::net::SocketAddr>().unwrap().ip());
    }
    let first = servers::mariadb(&site.servers, orders.parse().unwrap(), "orders").unwrap();
    let second = servers::mariadb(&site.servers, customers.parse().unwrap(), "customers").unwrap();
    let vipgate = site.start_with(&examples().join("two-mysql"), &[]);
    site.healthy(&vipgate);
    for (server, port, name) in [(&first, 9001, "orders"), (&second, 9002, "customers")] {
        let through = format!("{VIP}:{port}").parse().unwrap();
        let who = server.query_from(&site.client, through, "SELECT name FROM lab.whoami").unwrap();
        assert_eq!(who.trim(), name, "port {port}");
        // More than one packet each way, through the real client.
        let sum = "SELECT SUM(seq), LENGTH(REPEAT('x', 3000000)) FROM lab.seq";
        let fill = "CREATE TABLE lab.seq AS SELECT seq FROM lab.seq_1_to_100000";
        server.query_from(&site.client, through, fill).unwrap();
        let answer = server.query_from(&site.client, through, sum).unwrap();
        assert!(answer.contains("5000050000"), "{answer}");
    }
}

#[test]
fn the_demo_shows_every_example() {
    let output = demo(Program::new(VIPGATE));
    assert!(output.contains("8 of 8 examples work, and fail-over."), "{output}");
    assert!(output.contains("who has 10.77.0.200?"), "{output}");
}

#[test]
fn the_demo_needs_no_root() {
    // The binary is copied to where everybody may read it.
    let scratch = tempfile::tempdir().unwrap();
    let binary = scratch.path().join("vipgate");
    let examples = scratch.path().join("examples");
    std::fs::copy(VIPGATE, &binary).unwrap();
    copy_tree(&self::examples().join("nats"), &examples.join("nats"));
    let open =
        std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(scratch.path()).status();
    assert!(open.unwrap().success());
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(&binary)
        .args(["demo", "--examples"])
        .arg(&examples)
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 of 1 examples work, and fail-over."),
        "{text}\n{error}"
    );
}

fn demo(program: Program) -> String {
    let lab = vipgate_lab::Lab::new("demo-t").unwrap();
    let node = lab.node("any").unwrap();
    let program = program.args(["demo", "--examples"]).arg(examples());
    node.run_within(SOON + Duration::from_secs(110), program).unwrap()
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
