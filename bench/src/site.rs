//! Three machines in a row: client, proxy, server.

use std::time::Duration;

use anyhow::{Context, Result};
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program};

use crate::identity::Identity;
use crate::service::IPERF;

/// The proxy's address on the client's side.
pub(crate) const FRONT: &str = "10.98.1.1";
/// An address of vipgate's there.
pub(crate) const VIP: &str = "10.98.1.100";
/// The servers'.
pub(crate) const SERVER: &str = "10.98.2.2";

/// The machines, with the servers running.
pub(crate) struct Site {
    pub(crate) client: Node,
    pub(crate) proxy: Node,
    /// What proxies show that speak TLS.
    pub(crate) identity: Identity,
    _server: Node,
    _servers: [Process; 2],
    _links: [Link; 4],
    _bridges: [Bridge; 2],
}

impl Site {
    /// Makes them.
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new("bench")?;
        let bridges = [lab.bridge("front")?, lab.bridge("back")?];
        let (client, proxy, server) =
            (lab.node("client")?, lab.node("proxy")?, lab.node("server")?);
        let links = [
            client.join(&bridges[0], "10.98.1.2/24")?,
            proxy.join(&bridges[0], &format!("{FRONT}/24"))?,
            proxy.join(&bridges[1], "10.98.2.1/24")?,
            server.join(&bridges[1], &format!("{SERVER}/24"))?,
        ];
        client.default_route(FRONT)?;
        server.default_route("10.98.2.1")?;
        proxy.sysctl("net.ipv4.ip_forward", "1")?;
        for node in [&client, &proxy, &server] {
            // The host's may be another one, and cannot be chosen in a namespace unless it is this one.
            node.sysctl("net.ipv4.tcp_congestion_control", "reno")?;
            // Ten thousand connections a second leave more behind than the ports of a minute.
            node.sysctl("net.ipv4.ip_local_port_range", "1024 65000")?;
            node.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
            // And the kernel would spend most of its time in the search for one that is free.
            node.sysctl("net.ipv4.tcp_max_tw_buckets", "8192")?;
            node.sysctl("net.core.somaxconn", "4096")?;
        }
        let servers = [
            server.spawn(Program::new(this()?).args(["serve", SERVER]))?,
            server.spawn(Program::new("iperf3").args([
                "--server",
                "--forceflush",
                "--port",
                &IPERF.to_string(),
            ]))?,
        ];
        servers[0].wait_for_line("serving", Duration::from_secs(5))?;
        servers[1].wait_for_line("Server listening", Duration::from_secs(5))?;
        Ok(Self {
            client,
            proxy,
            identity: Identity::new()?,
            _server: server,
            _servers: servers,
            _links: links,
            _bridges: bridges,
        })
    }
}

/// This program.
pub(crate) fn this() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("cannot find this program")
}
