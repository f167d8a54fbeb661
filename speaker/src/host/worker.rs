//! The task on the host thread: one loop that owns all host state.
//!
//! It is level-triggered. [`Worker::reconcile`] compares what is wanted with what is there and
//! closes the gap; a command, a lost address and the renewal clock only say when. What failed is
//! tried again at each renewal, so a VIP comes up by itself once the cause is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use vipgate_planner::Link;

use super::address::{self, Addresses, LIFETIME, RENEWAL};
use super::detour::Detours;
use super::links::LinkTable;
use super::nft::{Disturbance, NftError, Tables};
use super::repairs::{Repair, Repairs};
use super::rtnetlink::{self as netlink, Event};
use super::{Exposures, HostError, VipOutcomes};

/// Between tries to open the event socket; well below what the lifetime of a VIP leaves.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

/// What the facade asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Exactly these VIPs are wanted.
    SetVips(Exposures, oneshot::Sender<VipOutcomes>),
    /// Remove everything and end.
    Shutdown(oneshot::Sender<Result<(), HostError>>),
}

/// What the facade reads.
pub(super) struct Published {
    pub(super) links: watch::Sender<Vec<Link>>,
    pub(super) vips: watch::Sender<VipOutcomes>,
    pub(super) redirects: watch::Sender<bool>,
    pub(super) preserving: watch::Sender<bool>,
}

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    published: Published,
    tasks: TaskTracker,
    requests: Handle,
    events: BoxStream<'static, Event>,
    links: LinkTable,
    addresses: Addresses,
    /// Present once a VIP was wanted.
    tables: Option<Tables>,
    /// What became of the last try to bring them up to date.
    guarded: Result<(), NftError>,
    /// Leads answers to clients' addresses back.
    detours: Detours,
    /// Whether what an earlier run left was looked for; done before the first address is put, or
    /// after a lifetime without one.
    leftovers_removed: bool,
    started: Instant,
    /// What is wanted, without loopback VIPs: those are always there.
    wanted: Exposures,
    /// Per VIP, so that a flush of all of them is undone at once.
    address_repairs: BTreeMap<IpAddr, Repairs>,
    table_repairs: Repairs,
}

/// Why the loop woke.
enum Turn {
    Renewal,
    Command(Option<Command>),
    Nft(Disturbance),
    Event(Option<Event>),
}

impl Worker {
    /// Subscribes, then reads what is there: in this order nothing is missed.
    pub(super) async fn start(
        commands: mpsc::Receiver<Command>,
        published: Published,
    ) -> Result<Self, HostError> {
        let tasks = TaskTracker::new();
        let events = netlink::events(&tasks).map_err(HostError::unreadable)?;
        let requests = netlink::requests(&tasks).map_err(HostError::unreadable)?;
        let dump = netlink::dump(&requests).await.map_err(HostError::unreadable)?;
        let mut worker = Self {
            commands,
            published,
            tasks,
            addresses: Addresses::new(requests.clone()),
            requests,
            events,
            links: LinkTable::from_dump(&dump),
            tables: None,
            guarded: Ok(()),
            detours: Detours::default(),
            leftovers_removed: false,
            started: Instant::now(),
            wanted: Exposures::new(),
            address_repairs: BTreeMap::new(),
            table_repairs: Repairs::new(Instant::now()),
        };
        worker.publish_links();
        Ok(worker)
    }

    /// Works until told to end, or until the facade is gone; both remove everything.
    pub(super) async fn run(mut self) {
        let mut renewal = interval(RENEWAL);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In this order, so that no flood of events delays a renewal.
            let turn = tokio::select! {
                biased;
                _ = renewal.tick() => Turn::Renewal,
                command = self.commands.recv() => Turn::Command(command),
                what = disturbed(&mut self.tables) => Turn::Nft(what),
                event = self.events.next() => Turn::Event(event),
            };
            match turn {
                Turn::Renewal => self.renew().await,
                Turn::Command(Some(Command::SetVips(wanted, reply))) => {
                    let outcomes = self.set_vips(wanted).await;
                    // The asker may have given up; the state holds all the same.
                    let _ = reply.send(outcomes);
                }
                Turn::Command(Some(Command::Shutdown(reply))) => {
                    let _ = reply.send(self.remove_everything().await);
                    return;
                }
                Turn::Command(None) => {
                    if let Err(error) = self.remove_everything().await {
                        tracing::warn!(%error, "something of ours stays on this host");
                    }
                    return;
                }
                Turn::Nft(what) => self.repair_tables(what),
                Turn::Event(Some(event)) => self.take_events(event).await,
                Turn::Event(None) => {
                    // The socket failed, which it does when memory is short.
                    tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
                    self.take_events(Event::Lost).await;
                }
            }
        }
    }

    async fn set_vips(&mut self, wanted: Exposures) -> VipOutcomes {
        let (local, real): (Exposures, Exposures) =
            wanted.into_iter().partition(|(ip, _)| ip.is_loopback());
        if !real.is_empty() && !self.leftovers_removed {
            self.remove_leftovers(&real).await;
        }
        self.address_repairs.retain(|ip, _| real.contains_key(ip));
        self.wanted = real;
        let mut outcomes = self.reconcile().await;
        outcomes.extend(local.into_keys().map(|ip| (ip, Ok(()))));
        self.publish_vips(&outcomes);
        outcomes
    }

    async fn renew(&mut self) {
        if self.wanted.is_empty() && self.addresses.held().next().is_none() {
            self.remove_leftover_tables().await;
            return;
        }
        let mut outcomes = self.reconcile().await;
        let known = self.published.vips.borrow().clone();
        outcomes.extend(known.into_iter().filter(|(ip, _)| ip.is_loopback()));
        self.publish_vips(&outcomes);
    }

    /// Makes the host have the wanted VIPs and no others. An address is there only while the tables
    /// know it, so that the kernel is silent about it and it is guarded: they come before the
    /// address and go after it.
    async fn reconcile(&mut self) -> VipOutcomes {
        let held = self.addresses.held();
        let gone: Vec<_> = held.filter(|ip| !self.wanted.contains_key(ip)).collect();
        for ip in gone {
            if let Err(error) = self.release(ip).await {
                tracing::warn!(%error, "a released VIP stays until its lifetime ends");
            }
        }
        let guarded = self.guard_all();
        if let (Err(error), true) = (&guarded, guarded != self.guarded) {
            tracing::warn!(
                %error,
                "the kernel may answer for VIPs, and they may not be guarded; none is added"
            );
        }
        self.guarded = guarded;
        self.lead_back().await;
        let (mut outcomes, mut due) = (VipOutcomes::new(), Vec::new());
        for ip in self.wanted.keys().copied() {
            match self.may_hold(ip) {
                Ok(()) if !self.addresses.is_fresh(ip) => due.push(ip),
                otherwise => drop(outcomes.insert(ip, otherwise)),
            }
        }
        if let Some((lo, _)) = self.links.loopback() {
            outcomes.extend(self.addresses.put_all(lo, due).await);
        }
        outcomes
    }

    /// Has rules and routes for marked packets where packets are marked.
    async fn lead_back(&mut self) {
        let Some((lo, _)) = self.links.loopback() else { return };
        let marking = self.tables.as_ref().filter(|tables| tables.preserves());
        let families = marking.map(|tables| tables.families().to_vec()).unwrap_or_default();
        let complete = self.detours.follow(&self.requests, &families, lo).await;
        let preserving = complete && !families.is_empty();
        self.published
            .preserving
            .send_if_modified(|known| std::mem::replace(known, preserving) != preserving);
    }

    async fn release(&mut self, ip: IpAddr) -> Result<(), HostError> {
        let (lo, _) = self.links.loopback().ok_or(HostError::LoopbackDown)?;
        self.addresses.remove(lo, ip).await
    }

    fn may_hold(&self, ip: IpAddr) -> Result<(), HostError> {
        if !self.links.loopback().is_some_and(|(_, up)| up) {
            return Err(HostError::LoopbackDown);
        }
        if !self.addresses.holds(ip) {
            if let Some(link) = self.links.foreign_holder(ip) {
                return Err(HostError::InUse { ip, link: link.to_owned() });
            }
            // One that is held already stays: taking it away would cut its connections.
            self.guarded.clone()?;
        }
        Ok(())
    }

    /// Has the tables know all VIPs that are wanted or still there; of the latter nothing is exposed.
    fn guard_all(&mut self) -> Result<(), NftError> {
        let mut exposures = self.wanted.clone();
        for ip in self.addresses.held() {
            exposures.entry(ip).or_default();
        }
        let guarded = match &mut self.tables {
            Some(tables) => tables.set_exposures(exposures),
            None if exposures.is_empty() => Ok(()),
            None => {
                let links = self.published.links.borrow().clone();
                Tables::install(&links, exposures).map(|tables| self.tables = Some(tables))
            }
        };
        self.publish_redirects();
        guarded
    }

    fn publish_redirects(&self) {
        let can = self.tables.as_ref().is_none_or(Tables::can_redirect);
        self.published.redirects.send_if_modified(|known| std::mem::replace(known, can) != can);
    }

    /// Takes away what an earlier run, which ended without a chance to do so, has on `lo`. What is
    /// wanted again stays, so that nothing is cut that may still live.
    async fn remove_leftovers(&mut self, keep: &Exposures) {
        self.leftovers_removed = true;
        let Some((lo, _)) = self.links.loopback() else { return };
        self.detours.remove_leftover(&self.requests, lo).await;
        for ip in self.links.ours() {
            if keep.contains_key(&ip) || self.addresses.holds(ip) {
                continue;
            }
            match self.addresses.remove(lo, ip).await {
                Ok(()) => tracing::info!(%ip, "removed a VIP that an earlier run left"),
                Err(error) => tracing::warn!(%error, "a VIP of an earlier run stays"),
            }
        }
    }

    /// A run that has no VIP to put leaves the addresses of an earlier one to their lifetime. The
    /// tables go after them: while one is still there, another process renews it and needs the
    /// tables.
    async fn remove_leftover_tables(&mut self) {
        let expired = self.started.elapsed() >= LIFETIME;
        if self.leftovers_removed || !expired || !self.links.ours().is_empty() {
            return;
        }
        self.leftovers_removed = true;
        // Whoever has no privilege has no tables either, and needs none.
        if let Err(error) = Tables::remove_leftover() {
            tracing::debug!(%error, "tables of an earlier run, if there are any, stay");
        }
        if let Some((lo, _)) = self.links.loopback() {
            self.detours.remove_leftover(&self.requests, lo).await;
        }
    }

    async fn remove_everything(&mut self) -> Result<(), HostError> {
        self.wanted.clear();
        let mut result = Ok(());
        for ip in self.addresses.held().collect::<Vec<_>>() {
            result = result.and(self.release(ip).await);
        }
        if let Some((lo, _)) = self.links.loopback() {
            // What stays is told of in the log, and does nothing.
            self.detours.follow(&self.requests, &[], lo).await;
        }
        if let Some(tables) = self.tables.take() {
            result = result.and(tables.remove().map_err(HostError::from));
        }
        result
    }

    /// Applies an event and all that came with it, then acts once.
    async fn take_events(&mut self, first: Event) {
        let mut deleted = BTreeSet::new();
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::Changed(message) => {
                    if let RouteNetlinkMessage::DelAddress(address) = &message {
                        deleted.extend(address::net(address).map(|net| net.addr()));
                    }
                    self.links.apply(&message);
                }
                Event::Lost => {
                    self.resubscribe().await;
                    deleted = self.addresses.held().collect();
                }
            }
            next = self.events.next().now_or_never().flatten();
        }
        self.publish_links();
        self.repair_addresses(&deleted).await;
    }

    /// Starts over with a new subscription and a dump. The old socket may still hold events from
    /// before the gap, which say "added" of what was deleted in it; they go with the socket.
    async fn resubscribe(&mut self) {
        match netlink::events(&self.tasks) {
            Ok(events) => self.events = events,
            Err(error) => tracing::warn!(%error, "cannot watch links and addresses anew"),
        }
        match netlink::dump(&self.requests).await {
            Ok(dump) => self.links = LinkTable::from_dump(&dump),
            // The old state is the best there is; the next event or overrun tries again.
            Err(error) => tracing::warn!(%error, "cannot read links and addresses"),
        }
    }

    /// Puts back what something else took away.
    async fn repair_addresses(&mut self, deleted: &BTreeSet<IpAddr>) {
        let Some((lo, true)) = self.links.loopback() else { return };
        for ip in deleted.iter().copied() {
            let wanted = self.wanted.contains_key(&ip) && self.addresses.holds(ip);
            if !wanted || self.links.is_ours(ip) {
                continue;
            }
            let now = Instant::now();
            let repairs = self.address_repairs.entry(ip).or_insert_with(|| Repairs::new(now));
            if !repair_now(repairs, format_args!("{ip} was taken from lo")) {
                continue;
            }
            match self.addresses.put(lo, ip).await {
                Ok(()) => tracing::warn!(%ip, "put back a VIP that something else removed from lo"),
                Err(error) => tracing::warn!(%error, "a VIP was removed from lo by something else"),
            }
        }
    }

    fn repair_tables(&mut self, what: Disturbance) {
        let Some(tables) = &mut self.tables else { return };
        let done = match what {
            Disturbance::Rival => {
                tracing::info!("something else rewrites destinations here; VIPs keep theirs");
                tables.meet_rival()
            }
            Disturbance::Changed
                if repair_now(
                    &mut self.table_repairs,
                    format_args!("a table `vipgate` was changed"),
                ) =>
            {
                tracing::warn!("nftables of ours were changed by something else; put back");
                tables.restore()
            }
            Disturbance::Changed | Disturbance::Unknown => {
                // The next renewal puts them in place.
                tables.distrust();
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the kernel may answer for VIPs, and they may not be guarded");
        }
    }

    fn publish_links(&mut self) {
        let links = self.links.snapshot();
        if *self.published.links.borrow() == links {
            return;
        }
        if let Some(Err(error)) = self.tables.as_mut().map(|tables| tables.set_links(&links)) {
            tracing::warn!(%error, "ARP requests may carry the wrong sender");
        }
        self.published.links.send_replace(links);
    }

    /// Publishes and logs what changed.
    fn publish_vips(&self, outcomes: &VipOutcomes) {
        self.published.vips.send_if_modified(|known| {
            for (ip, outcome) in outcomes {
                if let (Err(error), true) = (outcome, known.get(ip) != Some(outcome)) {
                    tracing::warn!(%ip, %error, "VIP is not on this host");
                }
            }
            let changed = known != outcomes;
            known.clone_from(outcomes);
            changed
        });
    }
}

async fn disturbed(tables: &mut Option<Tables>) -> Disturbance {
    match tables {
        Some(tables) => tables.disturbed().await,
        None => std::future::pending().await,
    }
}

fn repair_now(repairs: &mut Repairs, what: fmt::Arguments<'_>) -> bool {
    match repairs.next(Instant::now()) {
        Repair::Now => true,
        Repair::Later { first } => {
            if first {
                tracing::warn!(
                    "{what} by something else, again and again: repairing every {RENEWAL:?} from \
                     now on; check what else manages addresses and nftables on this host"
                );
            }
            false
        }
    }
}
