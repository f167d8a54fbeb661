//! What can be set about the forwarding of datagrams, and how much of the host it may take.

use std::fs;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Ports that sockets without one of their own get.
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Settings of the engine; fixed while it runs.
///
/// A session takes an open file and a local port of the host. Of files an eighth is for sessions while there is a
/// listener, the rest for connections (two each) and everything else; of the ports that the kernel gives out half,
/// so that programs of the host go on finding some. Both are limits of this engine alone: neither
/// engine can take from the other what is its own.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that forward; sessions are spread over them.
    pub workers: NonZeroUsize,
    /// How long a session may be silent in both directions, where its listener does not say. A client that comes back later is a new
    /// one. RFC 4787 (REQ-5) has two minutes as the least for what keeps state between UDP hosts.
    pub idle: Duration,
    /// The same for one whose client has not spoken again after an answer, as with DNS; Linux gives such
    /// flows as much (`nf_conntrack_udp_timeout`).
    pub idle_fresh: Duration,
    /// How long a client may wait for an answer of an endpoint that left its route, until it gets another
    /// one. As long as such an endpoint answers it keeps its sessions; one that is gone never
    /// would, and a client that goes on asking from one port is never silent.
    pub deserted: Duration,
    /// Sessions at once; each worker has its part. When there are more, the one that was silent for
    /// longest ends.
    pub sessions: usize,
    /// Sessions of one client's address (by IPv6: of its /64) at once, likewise.
    pub sessions_per_source: usize,
}

impl Default for Config {
    fn default() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
        let ports = fs::read_to_string(EPHEMERAL).ok().and_then(|text| range(&text));
        let ports = ports.map_or(0, |ports| ports.count());
        Self {
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            idle: Duration::from_secs(120),
            idle_fresh: Duration::from_secs(30),
            deserted: Duration::from_secs(5),
            sessions: room(files, ports),
            sessions_per_source: 1024,
        }
    }
}

/// Sessions that there may be where so many files may be open, and the kernel has so many ports to give
/// out (0: not known).
fn room(files: usize, ports: usize) -> usize {
    let ports = if ports == 0 { usize::MAX } else { ports / 2 };
    (files / 8).min(ports).max(1)
}

/// Two numbers with space between them: `32768 60999`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_leave_files_and_ports_to_others() {
        assert_eq!(range("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(range("nonsense"), None);
        assert_eq!(room(20_000, 28_232), 2500, "files are short");
        assert_eq!(room(1 << 20, 28_232), 14_116, "ports are");
        assert_eq!(room(1 << 16, 0), 8192, "ports are not known");
        assert_eq!(room(4, 2), 1);
    }
}
