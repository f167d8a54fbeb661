//! The table `arp vipgate`: the kernel neither answers for a VIP nor uses it as ARP sender.
//!
//! With a VIP on `lo` the kernel by default answers ARP for it on every interface, and sends ARP
//! requests with the VIP as sender when a packet from the VIP needs a neighbour. Both would
//! announce the VIP from nodes that do not own it. The table drops the one and rewrites the other;
//! the speaker's own replies leave through an AF_PACKET socket and do not pass it.
//!
//! ```text
//! table arp vipgate {
//!     set vips { type ipv4_addr; }
//!     chain out { type filter hook output priority filter; policy accept;
//!         arp operation reply arp saddr ip @vips drop
//!         oifname "eth0" arp operation request arp saddr ip @vips arp saddr ip set 192.0.2.7
//!         arp operation request arp saddr ip @vips arp saddr ip set 0.0.0.0
//!     }
//! }
//! ```
//!
//! A request's sender must be an address of the interface that it leaves by, hence one rule per
//! interface. An interface without an IPv4 address, or one that came a moment ago, falls through to
//! the last rule: sender 0.0.0.0 is what an ARP probe has (RFC 5227 section 2.1.1), hosts answer
//! it, and no cache learns anything from it.
//!
//! The table outlives the process on purpose: addresses that a dead process left on `lo` stay
//! silent until they expire. A start replaces it, a clean exit removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use vipgate_planner::Link;

use super::NftError;
use super::io::{Committer, Disturbance, Listener};
use super::ruleset::Expression::{Drop, Equal, InSet, Meta as LoadMeta, Payload, SetPayload};
use super::ruleset::{ELEMENTS_PER_MESSAGE, Family, Field, Hook, KeyType, Meta, Rule, Table};
use super::wire::Batch;

const TABLE: Table = Table { family: Family::Arp, name: "vipgate" };
const VIPS: &str = "vips";
const CHAIN: &str = "out";
/// `filter`.
const PRIORITY: i32 = 0;

/// ARP operation, after hardware type, protocol type and the two address lengths (RFC 826).
const OPERATION: Field = Field { offset: 6, len: 2 };
/// Sender protocol address, after the sender hardware address of 6 bytes.
const SENDER_IP: Field = Field { offset: 14, len: 4 };
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// An element of the set takes 16 bytes, and a socket may send 200 KiB at once, whatever its
/// privileges.
const ELEMENTS_PER_BATCH: usize = 10 * ELEMENTS_PER_MESSAGE;

/// The installed table. Holds the sockets and what the kernel was told.
pub(in crate::host) struct ArpSilence {
    committer: Committer,
    listener: Listener,
    vips: BTreeSet<Ipv4Addr>,
    senders: BTreeMap<String, Ipv4Addr>,
    /// Whether the kernel took the last change; if not, the next one puts all in place again.
    in_step: bool,
}

impl ArpSilence {
    /// Puts the table in place of one that an earlier run may have left.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, and on a kernel without nftables for ARP.
    pub(in crate::host) fn install(
        links: &[Link],
        vips: BTreeSet<Ipv4Addr>,
    ) -> Result<Self, NftError> {
        // Listening starts before the first change, so that no foreign one after it is missed.
        let committer = Committer::open()?;
        let listener = Listener::open(committer.port)?;
        let mut silence =
            Self { committer, listener, vips, senders: senders(links), in_step: false };
        silence.restore()?;
        Ok(silence)
    }

    /// Removes the table that an earlier run left; without one, does nothing.
    ///
    /// # Errors
    /// As [`ArpSilence::install`].
    pub(in crate::host) fn remove_leftover() -> Result<(), NftError> {
        Committer::open()?.commit("clean up", |batch| {
            // Deleting fails where there is nothing; adding first makes it certain.
            batch.add_table(TABLE);
            batch.delete_table(TABLE);
        })
    }

    /// Puts the whole table in place again, in one transaction as far as it fits.
    ///
    /// # Errors
    /// As [`ArpSilence::install`].
    pub(in crate::host) fn restore(&mut self) -> Result<(), NftError> {
        self.in_step = false;
        let keys = keys(&self.vips);
        let (first, rest) = keys.split_at(keys.len().min(ELEMENTS_PER_BATCH));
        self.committer.commit("install", |batch| {
            // Deleting fails where there is nothing; adding first makes it certain.
            batch.add_table(TABLE);
            batch.delete_table(TABLE);
            batch.add_table(TABLE);
            batch.add_set(TABLE, VIPS, KeyType::Ipv4);
            batch.add_chain(TABLE, CHAIN, Hook::ArpOutput, PRIORITY);
            add_rules(batch, &self.senders);
            batch.add_elements(TABLE, VIPS, first);
        })?;
        for chunk in rest.chunks(ELEMENTS_PER_BATCH) {
            self.committer.commit("fill", |batch| batch.add_elements(TABLE, VIPS, chunk))?;
        }
        self.in_step = true;
        Ok(())
    }

    /// Makes the kernel silent about exactly these.
    ///
    /// # Errors
    /// When the kernel refuses; the kernel is then silent about the old set, and maybe about some
    /// of the new addresses.
    pub(in crate::host) fn set_vips(&mut self, vips: BTreeSet<Ipv4Addr>) -> Result<(), NftError> {
        if vips == self.vips && self.in_step {
            return Ok(());
        }
        let added = keys(vips.difference(&self.vips));
        let removed = keys(self.vips.difference(&vips));
        self.vips = vips;
        let changed = added
            .chunks(ELEMENTS_PER_BATCH)
            .map(|chunk| (chunk, true))
            .chain(removed.chunks(ELEMENTS_PER_BATCH).map(|chunk| (chunk, false)))
            .try_for_each(|(chunk, add)| {
                self.committer.commit("update", |batch| match add {
                    true => batch.add_elements(TABLE, VIPS, chunk),
                    false => batch.delete_elements(TABLE, VIPS, chunk),
                })
            });
        self.or_restore(changed)
    }

    /// Follows the interfaces and their addresses.
    ///
    /// # Errors
    /// When the kernel refuses; the old rules then stay.
    pub(in crate::host) fn set_links(&mut self, links: &[Link]) -> Result<(), NftError> {
        let senders = senders(links);
        if senders == self.senders && self.in_step {
            return Ok(());
        }
        self.senders = senders;
        let changed = self.committer.commit("update", |batch| {
            batch.flush_chain(TABLE, CHAIN);
            add_rules(batch, &self.senders);
        });
        self.or_restore(changed)
    }

    /// Waits until something else changed the table, or may have. Safe to cancel.
    pub(in crate::host) async fn disturbed(&mut self) -> Disturbance {
        self.listener.changed(TABLE).await
    }

    /// Notes that the table may not be as it was; the next change puts all in place again.
    pub(in crate::host) fn distrust(&mut self) {
        self.in_step = false;
    }

    /// Takes the table away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(in crate::host) fn remove(mut self) -> Result<(), NftError> {
        self.committer.commit("remove", |batch| {
            batch.add_table(TABLE);
            batch.delete_table(TABLE);
        })
    }

    /// An update may come before the notification that somebody flushed the table; the update then
    /// does not find it, and putting all in place again serves both.
    fn or_restore(&mut self, changed: Result<(), NftError>) -> Result<(), NftError> {
        if !self.in_step || matches!(changed, Err(NftError::Gone { .. })) {
            return self.restore();
        }
        self.in_step = changed.is_ok();
        changed
    }
}

/// The address that ARP requests carry, per interface: the first IPv4 address of each that speaks
/// ARP.
fn senders(links: &[Link]) -> BTreeMap<String, Ipv4Addr> {
    let first_ipv4 = |link: &Link| {
        link.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
    };
    links
        .iter()
        .filter(|link| link.mac.is_some())
        .filter_map(|link| Some((link.name.clone(), first_ipv4(link)?)))
        .collect()
}

fn add_rules(batch: &mut Batch, senders: &BTreeMap<String, Ipv4Addr>) {
    for rule in rules(senders) {
        batch.add_rule(TABLE, CHAIN, &rule);
    }
}

/// The rules of the chain, in their order.
pub(super) fn rules(senders: &BTreeMap<String, Ipv4Addr>) -> Vec<Rule> {
    let mut silent_reply = from_a_vip(REPLY);
    silent_reply.push(Drop);
    let per_interface = senders.iter().map(|(name, sender)| {
        let mut rule = vec![LoadMeta(Meta::OutputInterfaceName), Equal(interface_name(name))];
        rule.extend(from_a_vip(REQUEST));
        rule.push(SetPayload(SENDER_IP, sender.octets().to_vec()));
        rule
    });
    let mut otherwise = from_a_vip(REQUEST);
    otherwise.push(SetPayload(SENDER_IP, Ipv4Addr::UNSPECIFIED.octets().to_vec()));
    std::iter::once(silent_reply).chain(per_interface).chain([otherwise]).collect()
}

fn from_a_vip(operation: u16) -> Rule {
    vec![
        Payload(OPERATION),
        Equal(operation.to_be_bytes().to_vec()),
        Payload(SENDER_IP),
        InSet(VIPS),
    ]
}

/// IFNAMSIZ is 16, the closing zero included; the register is compared whole.
fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn keys<'a>(vips: impl IntoIterator<Item = &'a Ipv4Addr>) -> Vec<[u8; 4]> {
    vips.into_iter().map(Ipv4Addr::octets).collect()
}
