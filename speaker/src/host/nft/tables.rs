//! The installed tables: what the kernel was told, and how it is brought up to date.

use vipgate_planner::Link;

use super::arp_silence::{self, Senders};
use super::io::{Committer, Disturbance, Listener};
use super::ruleset::{Change, Content, Family, Table, changes};
use super::{NAME, NftError, guard, rivals};
use crate::host::{Exposure, Exposures};

/// All tables of ours. Holds the sockets and what the kernel was told.
pub(in crate::host) struct Tables {
    committer: Committer,
    listener: Listener,
    exposures: Exposures,
    senders: Senders,
    /// Whether destinations are rewritten: somebody else does, or a port is redirected, now or once.
    rewrites: bool,
    /// Whether this kernel cannot rewrite destinations for us.
    cannot_rewrite: bool,
    /// Whether this kernel cannot tell the sockets that speak for clients.
    cannot_preserve: bool,
    /// Families that VIPs are of, or once were.
    families: Vec<Family>,
    /// What is in place.
    installed: Vec<Content>,
    /// Whether the kernel took the last change; if not, the next one puts all in place again.
    in_step: bool,
}

impl Tables {
    /// Puts the tables in place of those that an earlier run may have left.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, and on a kernel without nftables.
    pub(in crate::host) fn install(links: &[Link], exposures: Exposures) -> Result<Self, NftError> {
        // Listening starts before the first change, so that no foreign one after it is missed.
        let committer = Committer::open()?;
        let listener = Listener::open(committer.port)?;
        let mut tables = Self {
            committer,
            listener,
            exposures: Exposures::new(),
            senders: arp_silence::senders(links),
            rewrites: false,
            cannot_rewrite: false,
            cannot_preserve: false,
            families: Vec::new(),
            installed: Vec::new(),
            in_step: false,
        };
        tables.set_exposures(exposures)?;
        Ok(tables)
    }

    /// Removes the tables that an earlier run left; without any, does nothing.
    ///
    /// # Errors
    /// As [`Tables::install`].
    pub(in crate::host) fn remove_leftover() -> Result<(), NftError> {
        Committer::open()?.commit("clean up", &absent())
    }

    /// The same, and says which there were, as `nft` names them.
    ///
    /// # Errors
    /// As [`Tables::install`].
    pub(in crate::host) fn clean_up() -> Result<Vec<String>, NftError> {
        let mut committer = Committer::open()?;
        let mut removed = Vec::new();
        for family in Family::ALL {
            match committer.commit("remove", &[Change::DeleteTable(Table { family, name: NAME })]) {
                Ok(()) => removed.push(format!("{family} {NAME}")),
                Err(NftError::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Guards exactly these VIPs, and lets through what they expose.
    ///
    /// # Errors
    /// When the kernel refuses; it then guards the old ones, and maybe some of the new ones.
    pub(in crate::host) fn set_exposures(&mut self, exposures: Exposures) -> Result<(), NftError> {
        let redirects = exposures.values().any(Exposure::redirects);
        let rewrites = self.rewrites || redirects || rivals::by_legacy_iptables();
        if self.in_step && (&exposures, rewrites) == (&self.exposures, self.rewrites) {
            return Ok(());
        }
        (self.exposures, self.rewrites) = (exposures, rewrites);
        self.apply()
    }

    /// Follows the interfaces and their addresses.
    ///
    /// # Errors
    /// When the kernel refuses; the old rules then stay.
    pub(in crate::host) fn set_links(&mut self, links: &[Link]) -> Result<(), NftError> {
        self.senders = arp_silence::senders(links);
        self.apply()
    }

    /// Notes that somebody else rewrites destinations.
    ///
    /// # Errors
    /// As [`Tables::set_exposures`].
    pub(in crate::host) fn meet_rival(&mut self) -> Result<(), NftError> {
        self.rewrites = true;
        self.apply()
    }

    /// Whether a port of a VIP can be served at another one.
    pub(in crate::host) fn can_redirect(&self) -> bool {
        !self.cannot_rewrite
    }

    /// Whether what endpoints answer to clients' addresses is marked.
    pub(in crate::host) fn preserves(&self) -> bool {
        self.in_step && self.preserving()
    }

    /// The families whose tables are in place, or are to be.
    pub(in crate::host) fn families(&self) -> &[Family] {
        &self.families
    }

    /// Waits until something else changed a table of ours, or may have. Safe to cancel.
    pub(in crate::host) async fn disturbed(&mut self) -> Disturbance {
        self.listener.next(!self.rewrites).await
    }

    /// Notes that the tables may not be as they were; the next change puts all in place again.
    pub(in crate::host) fn distrust(&mut self) {
        self.in_step = false;
    }

    /// Puts all tables in place again, in one transaction as far as it fits.
    ///
    /// # Errors
    /// As [`Tables::install`].
    pub(in crate::host) fn restore(&mut self) -> Result<(), NftError> {
        self.in_step = false;
        self.apply()
    }

    /// Takes the tables away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(in crate::host) fn remove(mut self) -> Result<(), NftError> {
        self.committer.commit("remove", &absent())
    }

    fn apply(&mut self) -> Result<(), NftError> {
        let applied = self.try_apply();
        // A part that the kernel does not have is "not found", as if somebody had removed it.
        let lacking = |applied: &Result<_, _>| {
            matches!(applied, Err(NftError::Gone { .. } | NftError::NotSupported { .. }))
        };
        if lacking(&applied) && self.preserving() {
            self.cannot_preserve = true;
            if self.try_apply().is_ok() {
                tracing::warn!(
                    "this kernel cannot tell sockets by nftables (CONFIG_NFT_SOCKET): backends see \
                     the node's address, also where a BackendPolicy wants the client's"
                );
                return Ok(());
            }
            self.cannot_preserve = false;
        }
        if !lacking(&applied) || !self.tracked() {
            return applied;
        }
        self.cannot_rewrite = true;
        match self.try_apply() {
            Ok(()) => {
                tracing::warn!(
                    "this kernel cannot rewrite destinations by nftables (CONFIG_NFT_NAT): ports \
                     that others hold cannot be served, and others may take VIPs' connections"
                );
                Ok(())
            }
            Err(_) => {
                self.cannot_rewrite = false;
                applied
            }
        }
    }

    fn try_apply(&mut self) -> Result<(), NftError> {
        if self.in_step {
            let wanted = self.wanted();
            let update = changes(&self.installed, &wanted);
            if update.is_empty() {
                return Ok(());
            }
            match self.committer.commit("update", &update) {
                Ok(()) => {
                    self.installed = wanted;
                    return Ok(());
                }
                // An update may come before the notification that somebody flushed a table; it
                // then does not find it, and putting all in place again serves both.
                Err(NftError::Gone { .. }) => {}
                Err(error) => {
                    self.in_step = false;
                    return Err(error);
                }
            }
        }
        self.in_step = false;
        self.put_all()
    }

    /// Puts all in place, whatever is there.
    fn put_all(&mut self) -> Result<(), NftError> {
        // Whoever came while nobody listened, or too much was to be heard, is noticed here.
        self.rewrites = self.rewrites || rivals::are_there(&mut self.committer)?;
        let wanted = self.wanted();
        let mut afresh: Vec<_> = wanted.iter().flat_map(|content| fresh(content.table)).collect();
        afresh.extend(changes(&[], &wanted));
        self.committer.commit("install", &afresh)?;
        self.installed = wanted;
        self.in_step = true;
        Ok(())
    }

    fn tracked(&self) -> bool {
        self.rewrites && !self.cannot_rewrite
    }

    fn preserving(&self) -> bool {
        !self.cannot_preserve && self.exposures.values().any(Exposure::preserves)
    }

    /// What has to be in place. A table that was needed once stays until the end.
    fn wanted(&mut self) -> Vec<Content> {
        for ip in self.exposures.keys() {
            let family = if ip.is_ipv4() { Family::Ip } else { Family::Ip6 };
            if !self.families.contains(&family) {
                self.families.push(family);
            }
        }
        let arp = arp_silence::content(&self.exposures, &self.senders);
        let guards = guard::contents(&self.exposures, self.tracked(), self.preserving());
        let needed = |content: &Content| match content.table.family {
            Family::Arp => self.families.contains(&Family::Ip),
            family => self.families.contains(&family),
        };
        std::iter::once(arp).chain(guards).filter(needed).collect()
    }
}

/// Deletes a table that may be there. That fails where there is nothing, so it is added first.
fn fresh(table: Table) -> [Change<'static>; 2] {
    [Change::AddTable(table), Change::DeleteTable(table)]
}

fn absent() -> Vec<Change<'static>> {
    Family::ALL.into_iter().flat_map(|family| fresh(Table { family, name: NAME })).collect()
}
