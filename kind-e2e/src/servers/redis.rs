//! A real Redis server, without persistence.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{Node, Process, Program, eventually};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running Redis server whose key `whoami` is its name.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    // Before its directory: dropped first.
    process: Process,
    _directory: TempDir,
}

/// Starts a server on `node`; returns when it answers.
///
/// # Errors
/// When Redis is not installed or does not come up; with what it logged.
pub fn redis(node: &Node, address: SocketAddr, name: &str) -> Result<Redis> {
    let directory = tempfile::Builder::new().prefix("vglab-redis-").tempdir()?;
    let process = node.spawn(
        Program::new("redis-server")
            .arg("--bind")
            .arg(address.ip().to_string())
            .arg("--port")
            .arg(address.port().to_string())
            .arg("--dir")
            .arg(directory.path())
            .args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]),
    )?;
    let server = Redis { address, process, _directory: directory };
    eventually(START_TIMEOUT, || {
        let answer = server.command_from(node, address, ["SET", "whoami", name])?;
        ensure!(answer == "OK", "it answers {answer:?}");
        Ok(())
    })
    .with_context(|| format!("Redis on {address}\n{}", server.process.tail()))?;
    Ok(server)
}

impl Redis {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, to kill or terminate it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Runs one command by `redis-cli` on `client`, connected to `through` (this server, or a VIP
    /// that should lead to it); the answer as text.
    ///
    /// # Errors
    /// What the client printed.
    pub fn command_from<S: AsRef<OsStr>>(
        &self,
        client: &Node,
        through: SocketAddr,
        command: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let program = Program::new("redis-cli")
            .args(["-e", "-h", &through.ip().to_string(), "-p", &through.port().to_string()])
            .args(command);
        Ok(client.run_within(Duration::from_secs(10), program)?.trim_end().to_owned())
    }
}
