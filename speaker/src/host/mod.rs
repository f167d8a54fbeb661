//! What this host has: the VIPs on `lo`, the links it can announce on, an ARP-silent kernel, and a
//! guard in front of its own daemons.
//!
//! ```text
//!   node executor                     thread "vipgate-host", current-thread runtime
//!   ┌───────────┐  set_vips, shutdown  ┌────────────────────────────────────────────┐
//!   │           ├─────────────────────>│ worker: reconciles, renews, repairs        │
//!   │   Host    │<── watch: links ─────┤   links      what the kernel has           │
//!   │           │<── watch: vips ──────┤   address    VIPs on lo, with a lifetime   │
//!   └───────────┘                      │   nft        tables named `vipgate`        │
//!                                      └──────┬───────────────────────▲─────────────┘
//!                                      requests│ rtnetlink, nfnetlink  │ events
//! ```
//!
//! # Flow
//! The executor says which VIPs this host is to have and which of their ports are served, as often
//! as it likes. The worker first silences the kernel about a new VIP and guards it, then puts the
//! address on `lo`; a released one goes in the reverse order.
//!
//! # Guarantees
//! * When the process dies its VIPs are gone within [`LIFETIME`].
//! * A VIP or table that something else removes is back at once (the kernel tells us), unless that
//!   goes on and on: then at the next renewal.
//! * On a VIP nothing reaches this host but what the executor named, and ICMP.
//! * An address that something else put on this host is never changed or removed.
//! * Without a VIP outside 127.0.0.0/8 and `::1` no privilege is needed, and nothing is changed but
//!   that tables which an earlier run left are removed, where that is allowed.
//!
//! # Caveats
//! * The thread stays in the network namespace of the thread that called [`Host::start`].
//! * After a crash the tables stay: they keep the kernel silent about the addresses that are left, and
//!   guard them. The next start replaces them with the first VIP, or removes them when those
//!   addresses are gone; so does `vipgate cleanup`.

mod address;
mod cleanup;
mod detour;
mod exposure;
mod limits;
mod links;
mod look;
mod nft;
mod repairs;
mod rtnetlink;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::thread;

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot, watch};
use vipgate_planner::Link;

pub use address::{LIFETIME, RENEWAL, TAG};
pub use cleanup::{Cleaned, CleanupError, cleanup};
pub use exposure::{Exposure, Exposures};
pub use limits::{open_files_at_most, raise_open_files};
pub use look::{Seen, destinations_are_rewritten, look};
pub use nft::NftError;
use worker::{Command, Published, Worker};

/// What became of each wanted VIP: `Ok` means that the address is on this host.
pub type VipOutcomes = BTreeMap<IpAddr, Result<(), HostError>>;

/// Why a VIP is not on this host, or the host cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The address belongs to the host already.
    #[error(
        "{ip} is already an address of {link} on this host, and vipgate did not put it there; \
         remove it (`ip addr del {ip} dev {link}`, with its prefix) or exclude it from the pool"
    )]
    InUse {
        /// The VIP.
        ip: IpAddr,
        /// The interface that has it.
        link: String,
    },
    /// An address on `lo` receives nothing while `lo` is down.
    #[error("lo is down or missing; bring it up with `ip link set lo up`")]
    LoopbackDown,
    /// We may not.
    #[error(
        "cannot change {ip} on lo: not permitted; this needs the capability CAP_NET_ADMIN (run as \
         root, or grant it to the service){}",
        if ip.is_ipv6() { ", and IPv6 on lo (net.ipv6.conf.lo.disable_ipv6=0)" } else { "" }
    )]
    NotPermitted {
        /// The VIP.
        ip: IpAddr,
    },
    /// The kernel refuses the address for another reason.
    #[error("cannot change {ip} on lo: {errno}; see what `ip addr show dev lo` has")]
    Refused {
        /// The VIP.
        ip: IpAddr,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The kernel could not be silenced, or the VIP not guarded, so it was not put.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// Links and addresses cannot be read.
    #[error("cannot read links and addresses by rtnetlink: {0}; check the seccomp profile")]
    Unreadable(String),
    /// The host thread is gone, and the VIPs with it.
    #[error("the host thread has ended, its VIPs expire; the log says why, restart vipgate")]
    Ended,
}

impl HostError {
    fn address(ip: IpAddr, errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted { ip },
            errno => Self::Refused { ip, errno },
        }
    }

    fn unreadable(error: impl fmt::Display) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Handle to the host thread. Dropping it removes everything as [`Host::shutdown`] does, but does
/// not wait for that.
#[derive(Debug)]
pub struct Host {
    commands: mpsc::Sender<Command>,
    links: watch::Receiver<Vec<Link>>,
    vips: watch::Receiver<VipOutcomes>,
    redirects: watch::Receiver<bool>,
    preserving: watch::Receiver<bool>,
    thread: thread::JoinHandle<()>,
}

impl Host {
    /// Starts the thread and reads the links. Needs no privilege.
    ///
    /// # Errors
    /// When rtnetlink cannot be used or no thread started.
    pub async fn start() -> Result<Self, HostError> {
        let (commands, inbox) = mpsc::channel(8);
        let (links_sender, links) = watch::channel(Vec::new());
        let (vips_sender, vips) = watch::channel(VipOutcomes::new());
        let (redirects_sender, redirects) = watch::channel(true);
        let (preserving_sender, preserving) = watch::channel(false);
        let published = Published {
            links: links_sender,
            vips: vips_sender,
            redirects: redirects_sender,
            preserving: preserving_sender,
        };
        let (started, start) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("vipgate-host".to_owned())
            .spawn(move || host_thread(inbox, published, started))
            .map_err(HostError::unreadable)?;
        start.await.unwrap_or(Err(HostError::Ended))?;
        Ok(Self { commands, links, vips, redirects, preserving, thread })
    }

    /// The links of this host, without our VIPs in their addresses. Changes when they do.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }

    /// What became of the wanted VIPs; changes when one fails or recovers later.
    #[must_use]
    pub fn vips(&self) -> watch::Receiver<VipOutcomes> {
        self.vips.clone()
    }

    /// Whether a port of a VIP can be served at another one; false when the kernel turned out not
    /// to be able to.
    #[must_use]
    pub fn redirects(&self) -> watch::Receiver<bool> {
        self.redirects.clone()
    }

    /// Whether what endpoints answer to clients' addresses is led back to this host's sockets; true while some
    /// VIP [preserves](Exposure::preserve) them and all that it takes is in place.
    #[must_use]
    pub fn preserving(&self) -> watch::Receiver<bool> {
        self.preserving.clone()
    }

    /// Makes this host have exactly these VIPs, each with these ports, and says what became of each.
    ///
    /// Idempotent. A VIP that fails is tried again at each renewal, without being asked; see
    /// [`Host::vips`]. Loopback VIPs are always there.
    pub async fn set_vips(&self, wanted: Exposures) -> VipOutcomes {
        let ended = || wanted.keys().map(|ip| (*ip, Err(HostError::Ended))).collect();
        let (reply, outcomes) = oneshot::channel();
        if self.commands.send(Command::SetVips(wanted.clone(), reply)).await.is_err() {
            return ended();
        }
        outcomes.await.unwrap_or_else(|_| ended())
    }

    /// Takes all VIPs from `lo`, then the tables, and ends the thread.
    ///
    /// # Errors
    /// When something could not be removed. VIPs then expire; the tables stay.
    pub async fn shutdown(self) -> Result<(), HostError> {
        let (reply, done) = oneshot::channel();
        let sent = self.commands.send(Command::Shutdown(reply)).await;
        let result = match sent {
            Ok(()) => done.await.unwrap_or(Err(HostError::Ended)),
            Err(_) => Err(HostError::Ended),
        };
        // The worker returns right after its answer. A panic of it was logged by the hook.
        let _ = self.thread.join();
        result
    }
}

/// The renewal of lifetimes has a thread and a runtime of its own, so nothing else can delay it.
fn host_thread(
    inbox: mpsc::Receiver<Command>,
    published: Published,
    started: oneshot::Sender<Result<(), HostError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(HostError::unreadable(error)));
            return;
        }
    };
    runtime.block_on(async {
        match Worker::start(inbox, published).await {
            Ok(worker) => {
                let _ = started.send(Ok(()));
                worker.run().await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    });
}
