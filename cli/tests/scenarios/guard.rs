//! A VIP beside what the host has of its own: daemons, other programs, the traces of a crash.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use vipgate_lab::servers::{self, Echo};
use vipgate_lab::{Program, Result, eventually};

use crate::site::{SOON, Site, VIP, VIPGATE, backend, gateway, greeting_of, pool, route};

impl Site {
    /// A server on the node itself.
    fn daemon(&self, at: &str, name: &str) -> Echo {
        let address: SocketAddr = at.parse().unwrap();
        servers::echo(&self.node, address, name).unwrap()
    }

    /// A Gateway on these ports, which all lead to one server, and vipgate for it.
    fn write_ports(&self, ports: &[(&str, u16)]) {
        self.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
        self.write("gateway.yaml", &gateway("web", ports));
        for (name, _) in ports {
            self.write(&format!("route-{name}.yaml"), &route(name, "web", name, "web"));
        }
        self.write("backend.yaml", &backend("web", &["10.77.0.2:7000"]));
    }

    fn tables(&self) -> String {
        self.node.run("nft", ["list", "tables"]).unwrap()
    }

    fn cleanup(&self) -> Result<String> {
        self.node.run_within(SOON, Program::new(VIPGATE).arg("cleanup"))
    }

    fn is_refused(&self, to: &str) -> bool {
        self.greeting(to).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    }
}

const ALL_TABLES: &str = "table arp vipgate\ntable ip vipgate\n";

#[test]
fn a_daemon_of_the_host_answers_on_the_host_and_not_on_a_vip() {
    let site = Site::new("daemon");
    let _daemon = site.daemon("0.0.0.0:22", "sshd");
    let _echo = site.echo("10.77.0.2:7000");
    site.write_ports(&[("tcp", 80)]);
    let mut vipgate = site.start();
    site.healthy(&vipgate);
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "10.77.0.2:7000");
    assert!(site.is_refused("10.77.0.200:22"));
    assert_eq!(site.greeting("10.77.0.1:22").unwrap(), "sshd");
    site.client.run("ping", ["-c", "1", "-W", "2", VIP]).unwrap();
    // From the host itself, too.
    site.node.run("ping", ["-c", "1", "-W", "2", VIP]).unwrap();

    vipgate.process.terminate(SOON).unwrap();
    assert_eq!(site.tables(), "");
    // Control: without the guard it answers.
    site.node.run("ip", ["addr", "add", "10.77.0.200/32", "dev", "lo"]).unwrap();
    assert_eq!(site.greeting("10.77.0.200:22").unwrap(), "sshd");
}

/// Git by SSH on a VIP, beside the SSH server of the host.
#[test]
fn a_port_that_a_daemon_has_on_all_addresses_is_served_on_a_vip() {
    let site = Site::new("git");
    let daemon = site.daemon("0.0.0.0:22", "sshd");
    let _echo = site.echo("10.77.0.2:7000");
    site.write_ports(&[("git", 22)]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    for _ in 0..3 {
        assert_eq!(site.greeting("10.77.0.200:22").unwrap(), "10.77.0.2:7000");
        assert_eq!(site.greeting("10.77.0.1:22").unwrap(), "sshd");
    }
    let here = site.node.enter(|| TcpStream::connect("10.77.0.200:22"));
    assert_eq!(greeting_of(here.unwrap()).unwrap(), "10.77.0.2:7000");
    // The port behind it is nobody's business.
    let sockets = site.node.run("ss", ["-Hltn", "src", VIP]).unwrap();
    let inner = sockets.split_ascii_whitespace().nth(3).expect("a listening socket").to_owned();
    assert!(inner.starts_with("10.77.0.200:") && inner != "10.77.0.200:22", "{sockets}");
    assert!(site.is_refused(&inner));

    // What is open stays open when the daemon goes and the port is free.
    let open = site.connect("10.77.0.200:22").unwrap();
    let mut lines = BufReader::new(&open).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "10.77.0.2:7000");
    drop(daemon);
    (&open).write_all(b"still here\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "still here");
    assert_eq!(site.greeting("10.77.0.200:22").unwrap(), "10.77.0.2:7000");
    assert!(site.is_refused("10.77.0.1:22"));
}

/// Where nothing can be led elsewhere, as on the loopback, the status says who has the port.
#[test]
fn a_port_that_cannot_be_served_names_who_has_it() {
    let site = Site::new("taken");
    let _daemon = site.daemon("0.0.0.0:22", "sshd");
    let _echo = site.echo("10.77.0.2:7000");
    site.write_ports(&[("git", 22), ("tcp", 80)]);
    site.write("pool.yaml", &pool("127.0.0.80-127.0.0.80"));
    let vipgate = site.start();
    let who = format!("(pid {}), which listens on 0.0.0.0:22", std::process::id());
    // Every condition that changes is a line of the log.
    eventually(SOON, || {
        let log = vipgate.process.tail();
        anyhow::ensure!(log.contains("PortUnavailable") && log.contains(&who), "{log}");
        Ok(())
    })
    .unwrap();
    assert!(vipgate.status(&site.node, &[]).is_err(), "its exit code says that something is wrong");
}

#[test]
fn a_vip_that_somebody_deletes_is_served_again_within_100_ms() {
    let site = Site::new("deleted");
    let _echo = site.echo("10.77.0.2:7000");
    site.write_ports(&[("tcp", 80)]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "10.77.0.2:7000");
    let mut gaps = Vec::new();
    for _ in 0..3 {
        site.node.run("ip", ["addr", "del", "10.77.0.200/32", "dev", "lo"]).unwrap();
        let start = Instant::now();
        let to = "10.77.0.200:80".parse().unwrap();
        let quick = Duration::from_millis(5);
        let connect = || TcpStream::connect_timeout(&to, quick);
        site.client.enter(|| while connect().is_err() {});
        gaps.push(start.elapsed());
    }
    gaps.sort();
    // The median: the machine may be busy with other tests once.
    assert!(gaps[1] < Duration::from_millis(100), "{gaps:?}");
    assert!(site.has_address(VIP));
}

#[test]
fn a_crash_leaves_the_guard_and_cleanup_takes_it() {
    let site = Site::new("crash");
    let _daemon = site.daemon("0.0.0.0:22", "sshd");
    let _echo = site.echo("10.77.0.2:7000");
    site.write_ports(&[("tcp", 80)]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    assert_eq!(site.tables(), ALL_TABLES);

    // It does not clean up after one that lives.
    let refused = site.cleanup().unwrap_err().to_string();
    assert!(refused.contains("a vipgate is running on this host"), "{refused}");
    assert_eq!(site.tables(), ALL_TABLES);
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "10.77.0.2:7000");

    let mut vipgate = vipgate;
    vipgate.process.kill();
    assert!(site.has_address(VIP));
    assert_eq!(site.tables(), ALL_TABLES);
    assert!(site.is_refused("10.77.0.200:22"), "the address outlives the guard");
    let said = site.cleanup().unwrap();
    assert_eq!(
        said,
        "removed 10.77.0.200 from lo\nremoved the nftables table arp vipgate\n\
         removed the nftables table ip vipgate\n"
    );
    assert!(!site.has_address(VIP));
    assert_eq!(site.tables(), "");
    assert_eq!(site.cleanup().unwrap(), "nothing of vipgate is on this host\n");
}

#[test]
fn cleanup_says_what_it_needs() {
    let site = Site::new("rights");
    let program = Program::new("setpriv")
        .args([
            "--bounding-set",
            "-all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
            "--clear-groups",
        ])
        .args([VIPGATE, "cleanup"]);
    let error = site.node.run_within(SOON, program).unwrap_err().to_string();
    assert!(error.contains("CAP_NET_ADMIN"), "{error}");
}
