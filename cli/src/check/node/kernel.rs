//! What of the kernel is used, tried on the spot: a version number says little of a kernel that somebody
//! configured.

use std::io;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, ipproto, socket, sockopt};
use rustix::pipe::{SpliceFlags, pipe, splice};
use vipgate_planner::Link;
use vipgate_speaker::host::{NftError, Seen, destinations_are_rewritten};
use vipgate_speaker::l2::Protocol;
use vipgate_speaker::l2::socket::PacketSocket;

use crate::check::catalogue::Check;
use crate::check::finding::Finding;

/// Tries all of it.
pub(super) fn look(seen: Option<&Seen>) -> Vec<Finding> {
    let link = seen.and_then(|seen| seen.links.iter().find(|link| link.mac.is_some()));
    let opened = link.map(|link| (link, PacketSocket::open(link.index, Protocol::Arp).map(drop)));
    vec![nftables(&destinations_are_rewritten()), packets(opened), sockets(&tried_sockets())]
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn nftables(asked: &Result<bool, NftError>) -> Finding {
    let check = Check::KERNEL_NFTABLES;
    match asked {
        Ok(true) => Finding::ok(
            check,
            "it answers; something else rewrites destinations here, which is provided for",
        ),
        Ok(false) => Finding::ok(check, "it answers; nothing else rewrites destinations here"),
        Err(NftError::NotPermitted { .. }) => Finding::unseen(
            check,
            "this process may not ask: run it as root, or with CAP_NET_ADMIN",
        ),
        Err(error @ NftError::NotSupported { .. }) => Finding::error(check, error.to_string()),
        Err(error) => Finding::unseen(check, error.to_string()),
    }
}

fn packets(opened: Option<(&Link, io::Result<()>)>) -> Finding {
    let check = Check::KERNEL_PACKETS;
    match opened {
        None => Finding::unseen(check, "no interface of this host speaks ARP"),
        Some((link, Ok(()))) => {
            Finding::ok(check, format!("opened on {}, behind a filter", link.name))
        }
        Some((_, Err(error))) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::unseen(
                check,
                "this process may not open one: run it as root, or with CAP_NET_RAW",
            )
        }
        Some((link, Err(error))) => Finding::error(check, format!("{}: {error}", link.name)),
    }
}

/// Each thing that was tried, and why it failed if it did.
type Tried = Vec<(&'static str, Result<(), Errno>)>;

fn tried_sockets() -> Tried {
    let reuse = || {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        sockopt::set_socket_reuseport(&socket, true)
    };
    let freebind = || {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        sockopt::set_ip_freebind(&socket, true)
    };
    let spliced = || {
        let ((out, into), (_other, onward)) = (pipe()?, pipe()?);
        rustix::io::write(&into, b"x")?;
        splice(&out, None, &onward, None, 1, SpliceFlags::NONBLOCK).map(drop)
    };
    vec![("SO_REUSEPORT", reuse()), ("IP_FREEBIND", freebind()), ("splice", spliced())]
}

fn sockets(tried: &Tried) -> Finding {
    let check = Check::KERNEL_SOCKETS;
    let failed = |(name, outcome): &(&str, Result<(), Errno>)| {
        outcome.err().map(|errno| format!("{name}: {errno}"))
    };
    let failed: Vec<String> = tried.iter().filter_map(failed).collect();
    if failed.is_empty() {
        let names: Vec<&str> = tried.iter().map(|(name, _)| *name).collect();
        return Finding::ok(check, format!("{} work on Linux {}", names.join(", "), release()));
    }
    Finding::error(check, failed.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;

    #[test]
    fn nftables_that_is_missing_is_an_error_and_one_that_may_not_be_asked_is_unknown() {
        let lacking = NftError::NotSupported { doing: "read", errno: Errno::OPNOTSUPP };
        for (asked, verdict) in [
            (Ok(true), Verdict::Ok),
            (Ok(false), Verdict::Ok),
            (Err(NftError::NotPermitted { doing: "read" }), Verdict::NotLookedAt),
            (Err(NftError::Unanswered { doing: "read" }), Verdict::NotLookedAt),
            (Err(lacking), Verdict::Error),
        ] {
            assert_eq!(nftables(&asked).verdict, verdict, "{asked:?}");
        }
    }

    #[test]
    fn a_packet_socket_that_is_refused_is_an_error_unless_leave_is_missing() {
        let link = super::super::link("eth0", true, &[]);
        let with = |errno: Errno| Some((&link, Err(io::Error::from(errno))));
        assert_eq!(packets(Some((&link, Ok(())))).verdict, Verdict::Ok);
        assert_eq!(packets(with(Errno::PERM)).verdict, Verdict::NotLookedAt);
        assert_eq!(packets(with(Errno::AFNOSUPPORT)).verdict, Verdict::Error);
        assert_eq!(packets(None).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn what_sockets_cannot_is_named_and_this_kernel_can_all() {
        let tried = vec![("SO_REUSEPORT", Ok(())), ("splice", Err(Errno::NOSYS))];
        let found = sockets(&tried);
        assert_eq!(found.verdict, Verdict::Error);
        assert!(found.found.starts_with("splice: "), "{}", found.found);
        assert_eq!(sockets(&tried_sockets()).verdict, Verdict::Ok);
    }
}
