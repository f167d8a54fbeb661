//! Getting the privilege a lab needs: root has it, an ordinary user gets it by namespaces.
//!
//! The state it needs is the process's own: capabilities over the network namespace, and a
//! `/run/netns` to name new ones in. [`in_namespaces`] replaces the process to get there,
//! because the kernel moves only single-threaded processes into a user namespace.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::Access;
use rustix::thread::CapabilitySet;

/// What `unshare` starts: see the head of the script.
const SCRIPT: &str = include_str!("in-namespaces.sh");
/// Set in the replaced process, so that a failure is reported and not tried for ever.
const MARKER: &str = "VIPGATE_LAB_ENTERED";

/// Why there is no lab for this user on this host.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The process may not make network namespaces.
    #[error(
        "network namespaces need CAP_SYS_ADMIN, CAP_NET_ADMIN and a writable /run/netns: \
         run `make test` (works for ordinary users where user namespaces are allowed), \
         or put kind-e2e/src/in-namespaces.sh before the command, or run it as root"
    )]
    Unprivileged,
    /// The host refuses user namespaces.
    #[error("cannot make a user namespace here: {advice}\n  (unshare said: {said})")]
    Refused {
        /// What to change, or to run instead.
        advice: &'static str,
        /// What `unshare` printed.
        said: String,
    },
    /// `unshare` worked and the privilege is still not there.
    #[error("inside a user namespace, but without CAP_SYS_ADMIN: run it with sudo instead")]
    Ineffective,
    /// The program could not be started anew.
    #[error("cannot run `unshare` (package util-linux) or the program itself: {0}")]
    Exec(#[from] std::io::Error),
}

/// The switches of the host that forbid user namespaces, as read from `/proc/sys`.
#[derive(Clone, Copy, Debug, Default)]
struct Switches {
    apparmor_restricts: bool,
    debian_forbids: bool,
    none_allowed: bool,
}

/// Whether this process can make labs.
#[must_use]
pub fn privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    let directory = if Path::new("/run/netns").exists() { "/run/netns" } else { "/run" };
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
        && rustix::fs::access(directory, Access::WRITE_OK).is_ok()
}

/// Fails unless this process can make labs.
///
/// # Errors
/// [`EnterError::Unprivileged`], which says how to get the privilege.
pub fn require() -> Result<(), EnterError> {
    if privileged() { Ok(()) } else { Err(EnterError::Unprivileged) }
}

/// Returns when this process can make labs; when it cannot, starts the current program again
/// with the same arguments inside fresh user, network and mount namespaces, and does not return.
///
/// Call it first thing in `main`: what the process did before is done again.
///
/// # Errors
/// When the host does not let this user make such namespaces; the text says what to do.
pub fn in_namespaces() -> Result<(), EnterError> {
    if privileged() {
        return Ok(());
    }
    if std::env::var_os(MARKER).is_some() {
        return Err(EnterError::Ineffective);
    }
    probe()?;
    let error = script()
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(MARKER, "1")
        .exec();
    Err(EnterError::Exec(error))
}

/// Tries the whole way with a program that does nothing: once `exec` has replaced this process
/// it is too late for advice.
fn probe() -> Result<(), EnterError> {
    let output = script().arg("true").output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(EnterError::Refused { advice: Switches::read().advice(), said })
}

fn script() -> Command {
    let mut command = Command::new("sh");
    // root without the capabilities (a plain container) has to try as well.
    command.args(["-c", SCRIPT, "in-namespaces"]).env("VIPGATE_LAB_FORCE_UNSHARE", "1");
    command
}

impl Switches {
    fn read() -> Self {
        let is = |path: &str, value: &str| {
            std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
        };
        Self {
            apparmor_restricts: is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
            debian_forbids: is("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            none_allowed: is("/proc/sys/user/max_user_namespaces", "0"),
        }
    }

    fn advice(self) -> &'static str {
        if self.apparmor_restricts {
            "AppArmor forbids it (Ubuntu's default since 24.04). Run it with sudo, or allow it \
             until the next boot: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        } else if self.debian_forbids {
            "a sysctl forbids it. Run it with sudo, or allow it until the next boot: \
             sudo sysctl -w kernel.unprivileged_userns_clone=1"
        } else if self.none_allowed {
            "a sysctl forbids it. Run it with sudo, or allow it until the next boot: \
             sudo sysctl -w user.max_user_namespaces=10000"
        } else {
            "run it with sudo; inside a container, start that with --privileged"
        }
    }
}

#[cfg(test)]
mod tests;
