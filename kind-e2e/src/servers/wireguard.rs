//! A real WireGuard, in user space: one end of a tunnel, with an interface of its own on its node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Node, Process, Program, cluster};

const TIMEOUT: Duration = Duration::from_secs(10);
/// The interface on the node.
const INTERFACE: &str = "wg0";

/// A private key and the public one that belongs to it, in hexadecimal.
#[derive(Clone, Debug)]
pub struct WireGuardKeys {
    private: String,
    public: String,
}

impl WireGuardKeys {
    /// New ones.
    ///
    /// # Errors
    /// When the program cannot be built.
    pub fn generate() -> Result<Self> {
        let program = cluster::wireguard()?;
        let output = Command::new(&program).arg("keys").output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (private, public) = text.trim().split_once(' ').context("no keys were printed")?;
        Ok(Self { private: private.to_owned(), public: public.to_owned() })
    }
}

/// One end of a tunnel.
#[derive(Clone, Debug)]
pub struct Tunnel<'a> {
    /// Of this end.
    pub keys: &'a WireGuardKeys,
    /// Where it hears the other end, on all addresses of the node.
    pub port: u16,
    /// Its address in the tunnel, such as `10.9.0.1/24`; the other end may have all that there is.
    pub address: &'a str,
    /// The other end's.
    pub peer: &'a WireGuardKeys,
    /// Where the other end is; absent for the one that waits to be spoken to.
    pub endpoint: Option<SocketAddr>,
}

/// A running end of a tunnel.
#[derive(Debug)]
pub struct WireGuard {
    process: Process,
    file: PathBuf,
    _directory: TempDir,
}

/// Starts an end of a tunnel on `node`; returns when it hears the other end and the interface is up.
///
/// # Errors
/// When there is no `/dev/net/tun`, or the port is taken; with what it logged.
pub fn wireguard(node: &Node, tunnel: &Tunnel<'_>) -> Result<WireGuard> {
    let program = cluster::wireguard()?;
    let directory = tempfile::Builder::new().prefix("vglab-wireguard-").tempdir()?;
    let file = directory.path().join("tunnel");
    let Tunnel { keys, port, address, peer, endpoint } = tunnel;
    let endpoint = endpoint.map(|endpoint| format!("endpoint={endpoint}\n")).unwrap_or_default();
    std::fs::write(
        &file,
        format!(
            "private_key={}\nlisten_port={port}\npublic_key={}\n{endpoint}allowed_ip=0.0.0.0/0\n",
            keys.private, peer.public
        ),
    )?;
    let process = node.spawn(Program::new(&program).arg(INTERFACE).arg(&file))?;
    process.wait_for_line("the tunnel is up", TIMEOUT).context(
        "WireGuard in user space needs /dev/net/tun, and the right to open it (module `tun`)",
    )?;
    node.run("ip", ["address", "add", address, "dev", INTERFACE])?;
    node.run("ip", ["link", "set", INTERFACE, "up"])?;
    Ok(WireGuard { process, file, _directory: directory })
}

impl WireGuard {
    /// Goes over to another port, as a client does that comes into another network. The tunnel stays.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn roam(&self, port: u16) -> Result<()> {
        std::fs::write(&self.file, format!("listen_port={port}\n"))?;
        let mark = self.process.mark();
        self.process.signal(Signal::HUP)?;
        self.process.wait_for_line_after(&mark, "configured", TIMEOUT)?;
        Ok(())
    }

    /// How often the two ends have agreed on keys so far, as this one, which asked for it, saw it.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn handshakes(&self) -> Result<usize> {
        ensure!(!self.process.has_ended(), "{}", self.process.tail());
        Ok(self.process.output().stdout_text().matches("Received handshake response").count())
    }
}
