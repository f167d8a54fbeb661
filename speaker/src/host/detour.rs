//! Routing for connections that come from clients' addresses: what is marked stays on this host.
//!
//! ```text
//!   ip rule    117: from all fwmark 0x1000/0x1000 iif lo lookup main   proto 118
//!              118: from all fwmark 0x1000/0x1000 lookup 118           proto 118
//!   ip route   local default dev lo table 118                           proto 118
//! ```
//!
//! The chain [`preserve`](super::nft::preserve) marks what endpoints answer to a socket of ours that speaks for
//! a client; the second rule and the route make it local. The first rule is for the check of reverse paths
//! (`rp_filter` with `src_valid_mark`, which WireGuard's `wg-quick` switches on): without it the kernel would ask
//! this very table for the way back, find "local", and drop the packet as a martian.
//!
//! All of it carries the protocol number that our addresses have as their tag, so that what an earlier run left is
//! told from what others made. Without a packet that is marked none of it does anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::route::{RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, route::RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};
use rustix::io::Errno;

use super::address::{TAG, errno};
use super::nft::Family;
use super::nft::preserve::MARK;

/// The table; the number is that of the tag.
const TABLE: u32 = TAG as u32;
/// Of the rule that leads to it. What is marked goes before all but the host's own addresses.
const PRIORITY: u32 = TAG as u32;
/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// Puts rules and route of a family in place. What is there stays.
pub(super) async fn put(rtnetlink: &Handle, family: Family, lo: u32) -> Result<(), Errno> {
    let fine = |done: Result<(), rtnetlink::Error>| match done.map_err(|error| errno(&error)) {
        Err(Errno::EXIST) => Ok(()),
        done => done,
    };
    // The route first: without it a rule leads nowhere.
    fine(rtnetlink.route().add(route(family, lo)).execute().await)?;
    for rule in rules(family) {
        let mut request = rtnetlink.rule().add();
        *request.message_mut() = rule;
        fine(request.execute().await)?;
    }
    Ok(())
}

/// Takes rules and route of a family away. Whether there was one.
pub(super) async fn remove(rtnetlink: &Handle, family: Family, lo: u32) -> Result<bool, Errno> {
    let gone = |done: Result<(), rtnetlink::Error>| match done.map_err(|error| errno(&error)) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::SRCH | Errno::AFNOSUPPORT | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    };
    let mut any = false;
    for rule in rules(family) {
        any |= gone(rtnetlink.rule().del(rule).execute().await)?;
    }
    any |= gone(rtnetlink.route().del(route(family, lo)).execute().await)?;
    Ok(any)
}

fn rules(family: Family) -> [RuleMessage; 2] {
    let rule = |priority, table: u32, more: Option<RuleAttribute>| {
        let mut rule = RuleMessage::default();
        rule.header.family = match family {
            Family::Ip6 => AddressFamily::Inet6,
            Family::Ip | Family::Arp => AddressFamily::Inet,
        };
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![
            RuleAttribute::Priority(priority),
            RuleAttribute::FwMark(MARK),
            RuleAttribute::FwMask(MARK),
            RuleAttribute::Table(table),
            RuleAttribute::Protocol(RouteProtocol::Other(TAG)),
        ];
        rule.attributes.extend(more);
        rule
    };
    let backwards = RuleAttribute::Iifname("lo".to_owned());
    [rule(PRIORITY - 1, MAIN, Some(backwards)), rule(PRIORITY, TABLE, None)]
}

fn route(family: Family, lo: u32) -> RouteMessage {
    let any: IpAddr = match family {
        Family::Ip6 => Ipv6Addr::UNSPECIFIED.into(),
        Family::Ip | Family::Arp => Ipv4Addr::UNSPECIFIED.into(),
    };
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(any, 0)
        .expect("0 is a length of every prefix")
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .protocol(RouteProtocol::Other(TAG))
        .table_id(TABLE)
        .output_interface(lo)
        .build()
}

/// How `ip` is told the family.
pub(super) fn flag(family: Family) -> &'static str {
    if family == Family::Ip6 { "-6" } else { "-4" }
}

/// Which families have rules and route, as far as this run put them.
#[derive(Debug, Default)]
pub(super) struct Detours {
    put: Vec<Family>,
    /// What the log has already.
    failed: Option<Errno>,
}

impl Detours {
    /// Puts those of these families in place, again if something else took them away, and takes away the others.
    /// Whether all are there.
    pub(super) async fn follow(
        &mut self,
        rtnetlink: &Handle,
        families: &[Family],
        lo: u32,
    ) -> bool {
        let mut failed = None;
        for family in families {
            match put(rtnetlink, *family, lo).await {
                Ok(()) if self.put.contains(family) => {}
                Ok(()) => self.put.push(*family),
                Err(errno) => failed = Some(errno),
            }
        }
        let gone: Vec<_> = self.put.iter().copied().filter(|f| !families.contains(f)).collect();
        for family in gone {
            match remove(rtnetlink, family, lo).await {
                Ok(_) => self.put.retain(|put| *put != family),
                Err(errno) => failed = failed.or(Some(errno)),
            }
        }
        if failed != std::mem::replace(&mut self.failed, failed)
            && let Some(errno) = failed
        {
            tracing::warn!(%errno, "cannot change rules and routes of table {TABLE}: backends see the node's \
                address, also where a BackendPolicy wants the client's");
        }
        failed.is_none()
    }

    /// Takes away what an earlier run left.
    pub(super) async fn remove_leftover(&self, rtnetlink: &Handle, lo: u32) {
        for family in [Family::Ip, Family::Ip6] {
            match remove(rtnetlink, family, lo).await {
                Ok(true) => {
                    tracing::info!(
                        "removed rules of `ip {} rule` that an earlier run left",
                        flag(family)
                    );
                }
                Ok(false) => {}
                // Whoever has no privilege has none of them either.
                Err(errno) => {
                    tracing::debug!(%errno, "rules of an earlier run, if there are any, stay")
                }
            }
        }
    }
}
