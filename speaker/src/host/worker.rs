//! The task on the host thread: one loop that owns all host state.
//!
//! It is level-triggered. [`Worker::reconcile`] compares what is wanted with what is there and
//! closes the gap; a command, a lost address and the renewal clock only say when. What failed is
//! tried again at each renewal, so a VIP comes up by itself once the cause is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
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
use super::links::LinkTable;
use super::nft::{ArpSilence, Disturbance, NftError};
use super::repairs::{Repair, Repairs};
use super::rtnetlink::{self as netlink, Event};
use super::{HostError, VipOutcomes};

/// Between tries to open the event socket; well below what the lifetime of a VIP leaves.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

/// What the facade asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Exactly these VIPs are wanted.
    SetVips(BTreeSet<IpAddr>, oneshot::Sender<VipOutcomes>),
    /// Remove everything and end.
    Shutdown(oneshot::Sender<Result<(), HostError>>),
}

/// What the facade reads.
pub(super) struct Published {
    pub(super) links: watch::Sender<Vec<Link>>,
    pub(super) vips: watch::Sender<VipOutcomes>,
}

pub(super) struct Worker {
    commands: mpsc::Receiver<Command>,
    published: Published,
    tasks: TaskTracker,
    requests: Handle,
    events: BoxStream<'static, Event>,
    links: LinkTable,
    addresses: Addresses,
    /// Present once an IPv4 VIP was wanted.
    silence: Option<ArpSilence>,
    /// What became of the last try to keep the kernel silent.
    silenced: Result<(), NftError>,
    /// Whether what an earlier run left was looked for; done before the first address is put, or
    /// after a lifetime without one.
    leftovers_removed: bool,
    started: Instant,
    /// What is wanted, without loopback VIPs: those are always there.
    wanted: BTreeSet<IpAddr>,
    /// Per VIP, so that a flush of all of them is undone at once.
    address_repairs: BTreeMap<IpAddr, Repairs>,
    table_repairs: Repairs,
}

/// Why the loop woke.
enum Turn {
    Renewal,
    Command(Option<Command>),
    Silence(Disturbance),
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
            silence: None,
            silenced: Ok(()),
            leftovers_removed: false,
            started: Instant::now(),
            wanted: BTreeSet::new(),
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
                what = disturbed(&mut self.silence) => Turn::Silence(what),
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
                Turn::Silence(what) => self.repair_silence(what),
                Turn::Event(Some(event)) => self.take_events(event).await,
                Turn::Event(None) => {
                    // The socket failed, which it does when memory is short.
                    tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
                    self.take_events(Event::Lost).await;
                }
            }
        }
    }

    async fn set_vips(&mut self, wanted: BTreeSet<IpAddr>) -> VipOutcomes {
        let (local, real): (BTreeSet<_>, BTreeSet<_>) =
            wanted.into_iter().partition(IpAddr::is_loopback);
        if !real.is_empty() && !self.leftovers_removed {
            self.remove_leftovers(&real).await;
        }
        self.address_repairs.retain(|ip, _| real.contains(ip));
        self.wanted = real;
        let mut outcomes = self.reconcile().await;
        outcomes.extend(local.into_iter().map(|ip| (ip, Ok(()))));
        self.publish_vips(&outcomes);
        outcomes
    }

    async fn renew(&mut self) {
        if self.wanted.is_empty() && self.addresses.held().is_empty() {
            self.remove_leftover_table();
            return;
        }
        let mut outcomes = self.reconcile().await;
        let known = self.published.vips.borrow().clone();
        outcomes.extend(known.into_iter().filter(|(ip, _)| ip.is_loopback()));
        self.publish_vips(&outcomes);
    }

    /// Makes the host have the wanted VIPs and no others. An IPv4 address is there only while the
    /// kernel is silent about it: silence comes before the address and goes after it.
    async fn reconcile(&mut self) -> VipOutcomes {
        let gone: Vec<_> = self.addresses.held().difference(&self.wanted).copied().collect();
        for ip in gone {
            if let Err(error) = self.release(ip).await {
                tracing::warn!(%error, "a released VIP stays until its lifetime ends");
            }
        }
        let silenced = self.silence_all();
        if let (Err(error), true) = (&silenced, silenced != self.silenced) {
            tracing::warn!(%error, "the kernel may answer ARP for VIPs; none is added");
        }
        self.silenced = silenced;
        let mut outcomes = BTreeMap::new();
        for ip in self.wanted.clone() {
            outcomes.insert(ip, self.hold(ip).await);
        }
        outcomes
    }

    async fn release(&mut self, ip: IpAddr) -> Result<(), HostError> {
        let (lo, _) = self.links.loopback().ok_or(HostError::LoopbackDown)?;
        self.addresses.remove(lo, ip).await
    }

    async fn hold(&mut self, ip: IpAddr) -> Result<(), HostError> {
        let lo = match self.links.loopback() {
            Some((index, true)) => index,
            _ => return Err(HostError::LoopbackDown),
        };
        if !self.addresses.held().contains(&ip) {
            if let Some(link) = self.links.foreign_holder(ip) {
                return Err(HostError::InUse { ip, link: link.to_owned() });
            }
            // One that is held already stays: taking it away would cut its connections.
            if ip.is_ipv4() {
                self.silenced.clone()?;
            }
        }
        self.addresses.put(lo, ip).await
    }

    /// Tells the kernel to be silent about all IPv4 VIPs that are wanted or still there.
    fn silence_all(&mut self) -> Result<(), NftError> {
        let vips: BTreeSet<Ipv4Addr> = self
            .wanted
            .union(self.addresses.held())
            .filter_map(|ip| match ip {
                IpAddr::V4(ip) => Some(*ip),
                IpAddr::V6(_) => None,
            })
            .collect();
        match &mut self.silence {
            Some(silence) => silence.set_vips(vips),
            None if vips.is_empty() => Ok(()),
            None => {
                let links = self.published.links.borrow().clone();
                self.silence = Some(ArpSilence::install(&links, vips)?);
                Ok(())
            }
        }
    }

    /// Takes away what an earlier run, which ended without a chance to do so, has on `lo`. What is
    /// wanted again stays, so that nothing is cut that may still live.
    async fn remove_leftovers(&mut self, keep: &BTreeSet<IpAddr>) {
        self.leftovers_removed = true;
        let Some((lo, _)) = self.links.loopback() else { return };
        for ip in self.links.ours() {
            if keep.contains(&ip) || self.addresses.held().contains(&ip) {
                continue;
            }
            match self.addresses.remove(lo, ip).await {
                Ok(()) => tracing::info!(%ip, "removed a VIP that an earlier run left"),
                Err(error) => tracing::warn!(%error, "a VIP of an earlier run stays"),
            }
        }
    }

    /// A run that has no VIP to put leaves the addresses of an earlier one to their lifetime. The
    /// table goes after them: while one is still there, another process renews it and needs the
    /// table.
    fn remove_leftover_table(&mut self) {
        let expired = self.started.elapsed() >= LIFETIME;
        if self.leftovers_removed || !expired || !self.links.ours().is_empty() {
            return;
        }
        self.leftovers_removed = true;
        // Whoever has no privilege has no table either, and needs none.
        if let Err(error) = ArpSilence::remove_leftover() {
            tracing::debug!(%error, "a table of an earlier run, if there is one, stays");
        }
    }

    async fn remove_everything(&mut self) -> Result<(), HostError> {
        self.wanted.clear();
        let mut result = Ok(());
        for ip in self.addresses.held().clone() {
            result = result.and(self.release(ip).await);
        }
        if let Some(silence) = self.silence.take() {
            result = result.and(silence.remove().map_err(HostError::from));
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
                    deleted.clone_from(self.addresses.held());
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
        for ip in deleted.intersection(&self.wanted.clone()).copied() {
            if self.links.is_ours(ip) || !self.addresses.held().contains(&ip) {
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

    fn repair_silence(&mut self, what: Disturbance) {
        let Some(silence) = &mut self.silence else { return };
        let now = what == Disturbance::Changed
            && repair_now(
                &mut self.table_repairs,
                format_args!("the table `arp vipgate` was changed"),
            );
        if !now {
            // The next renewal puts it in place.
            silence.distrust();
            return;
        }
        match silence.restore() {
            Ok(()) => tracing::warn!("put back the nftables table that something else changed"),
            Err(error) => tracing::warn!(%error, "the kernel may answer ARP for VIPs"),
        }
    }

    fn publish_links(&mut self) {
        let links = self.links.snapshot();
        if *self.published.links.borrow() == links {
            return;
        }
        if let Some(Err(error)) = self.silence.as_mut().map(|silence| silence.set_links(&links)) {
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

async fn disturbed(silence: &mut Option<ArpSilence>) -> Disturbance {
    match silence {
        Some(silence) => silence.disturbed().await,
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
