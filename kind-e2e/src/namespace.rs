//! One network namespace, owned: made on creation, deleted on drop with whatever runs in it.
//!
//! Its name, `vglab-<pid>-<start>-<lab>-<what>`, says which process owns it, so that another run
//! can tell leftovers from namespaces in use (see `leftovers`).

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Result, leftovers};

/// Where `ip netns` keeps names.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace of the lab, with `lo` up.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes the namespace. `name` must be unique on the host and begin with this process's
    /// [`leftovers::prefix`].
    pub(crate) fn create(name: String) -> Result<Self> {
        let output = Command::new("ip")
            .args(["netns", "add", &name])
            .output()
            .context("cannot run `ip`: install iproute2")?;
        ensure!(
            output.status.success(),
            "ip netns add {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let opened = File::open(PathBuf::from(DIRECTORY).join(&name))
            .with_context(|| format!("cannot open the namespace {name} just made"));
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                leftovers::remove(&name);
                return Err(error);
            }
        };
        let namespace = Self { name, file };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` commands, one per line without the word `ip`, up to the first that fails.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip`: install iproute2")?;
        let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        stdin.write_all(lines.as_bytes()).context("ip went away")?;
        drop(stdin);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{}: ip {lines:?}: {}", self.name, error.trim());
        }
        Ok(())
    }

    /// What `ip -json -details ARGUMENTS` prints.
    pub(crate) fn ip_json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = Command::new("ip")
            .args(["-n", &self.name, "-json", "-details"])
            .args(arguments)
            .output()
            .context("cannot run `ip`: install iproute2")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: ip {arguments:?}: {}", self.name, error.trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Moves the calling thread into this namespace.
    pub(crate) fn move_thread(&self) -> std::io::Result<()> {
        Ok(move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Runs `work` on a thread of its own inside the namespace. A panic of `work` goes on here.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.move_thread().expect("the process that made the namespace may enter it");
            work()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Writes a sysctl of the namespace, `net.ipv4.ip_forward` for example.
    pub(crate) fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        // /proc/sys/net shows the namespace of the thread that opens it.
        self.enter(|| std::fs::write(&path, value))
            .with_context(|| format!("{}: cannot set {name}={value}", self.name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        leftovers::remove(&self.name);
    }
}
