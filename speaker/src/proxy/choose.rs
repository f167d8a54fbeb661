//! Which listener, target and endpoint a connection gets.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;
use vipgate_api::ObjectRef;

use super::balance::random::Random;
use super::connect::Dial;
use super::connection::{Owner, Place};
use super::name;
use super::pick::Picker;
use super::stats::ResetReason;
use super::table::{Entry, Forward};
use super::worker::Worker;

/// A listener as one worker sees it.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) entry: Arc<Entry>,
    /// One for each of the entry's `forwards`.
    rotations: Vec<Rotation>,
    /// Some of them needs the client's address.
    wants_client: bool,
    /// What nobody else draws from.
    random: Random,
}

/// Whose turn it is among shares, and among the endpoints inside each.
#[derive(Debug)]
struct Rotation {
    picker: Picker,
    /// Per share, the endpoint whose turn it is. Starts at the worker's number, so that workers do not
    /// all begin with the same one.
    cursors: Box<[usize]>,
}

impl Rotation {
    fn new(forward: &Forward, worker: usize) -> Self {
        Self {
            picker: Picker::new(forward.shares.iter().map(|share| share.weight)),
            cursors: vec![worker; forward.shares.len()].into_boxed_slice(),
        }
    }
}

impl Accepting {
    /// Takes over a new entry; goes on with the picks where the weights did not change.
    pub(super) fn new(entry: Arc<Entry>, old: Option<Self>, worker: usize) -> Self {
        let (before, mut kept) = match old {
            Some(old) => (Some(old.entry), old.rotations.into_iter().map(Some).collect()),
            None => (None, Vec::new()),
        };
        let rotations = entry
            .forwards
            .iter()
            .map(|(name, forward)| {
                let known = before.as_ref().and_then(|before| {
                    let same = |(n, f): &(Option<String>, Arc<Forward>)| {
                        n == name && forward.same_weights(f)
                    };
                    before.forwards.iter().position(same)
                });
                let kept = known.and_then(|place| kept.get_mut(place)?.take());
                kept.unwrap_or_else(|| Rotation::new(forward, worker))
            })
            .collect();
        let wants_client = entry.forwards.iter().any(|(_, forward)| forward.wants_client);
        Self { entry, rotations, wants_client, random: Random::new() }
    }

    /// Where the next connection of a target goes.
    fn pick(
        &mut self,
        target: usize,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Result<Dial, ResetReason> {
        let (Some((_, forward)), Some(rotation)) =
            (self.entry.forwards.get(target), self.rotations.get_mut(target))
        else {
            return Err(ResetReason::NoRoute);
        };
        // Only one that is gone has no address.
        let client = forward.client(client).ok_or(ResetReason::ByClient)?;
        let share = forward.share(&client, || rotation.picker.pick());
        let share = share.ok_or(ResetReason::NoEndpoint)?;
        let turn = &mut rotation.cursors[share];
        let place = forward.shares[share].pick(&client, turn, &mut self.random, now);
        let place = place.ok_or(ResetReason::NoEndpoint)?;
        Ok(Dial::new(Arc::clone(forward), share, place, now).of(client))
    }
}

/// What a handshake with a chosen listener needs, if it has one; or why the client is not served.
type Terms = Result<Option<Arc<ServerConfig>>, ResetReason>;

impl Worker {
    /// What a client means that came in by a port and asks for a name: the listener, if any has the
    /// name, and its terms.
    pub(super) fn choose(&self, port: u32, name: Option<&str>) -> (Option<Owner>, Terms) {
        let Some(port) = self.ports.get(port as usize).and_then(Option::as_ref) else {
            return (None, Err(ResetReason::ListenerGone));
        };
        let listeners = port.listeners.iter().filter_map(|slot| {
            let entry = &self.listeners.get(*slot as usize)?.as_ref()?.entry;
            Some((entry.hostname(), (*slot, entry)))
        });
        let Some((slot, entry)) = name::best(listeners, name) else {
            return (None, Err(ResetReason::NoName));
        };
        let owner = Owner { place: Place::Listener(slot), stats: Arc::clone(&entry.stats) };
        (Some(owner), entry.terms(name))
    }

    /// Whether a pick for a listener needs the client's address.
    pub(super) fn wants_client(&self, listener: u32) -> bool {
        let accepting = self.listeners.get(listener as usize).and_then(Option::as_ref);
        accepting.is_some_and(|accepting| accepting.wants_client)
    }

    /// Picks for a connection to a listener that asks for a name, of a client whose address is known where
    /// that is [wanted](Self::wants_client).
    pub(super) fn pick(
        &mut self,
        listener: u32,
        name: Option<&str>,
        client: Option<IpAddr>,
    ) -> Result<(Dial, Arc<ObjectRef>), ResetReason> {
        let accepting = self.listeners.get_mut(listener as usize).and_then(Option::as_mut);
        let accepting = accepting.ok_or(ResetReason::ListenerGone)?;
        let target = accepting.entry.target(name)?;
        let mut dial = accepting.pick(target, client, self.now)?;
        dial.introduce(accepting.entry.listener.bind, name);
        let route = Arc::clone(dial.route());
        Ok((dial, route))
    }
}

impl Entry {
    /// Which of the `forwards` has a name.
    fn target(&self, name: Option<&str>) -> Result<usize, ResetReason> {
        if self.forwards.is_empty() {
            return Err(ResetReason::NoRoute);
        }
        let targets = self.forwards.iter().enumerate().map(|(i, (name, _))| (name.as_deref(), i));
        name::best(targets, name).ok_or(ResetReason::NoName)
    }

    /// Looks before a handshake whether there will be anything to serve after it.
    fn terms(&self, name: Option<&str>) -> Terms {
        let target = self.target(name)?;
        if !self.forwards[target].1.has_endpoints() {
            return Err(ResetReason::NoEndpoint);
        }
        if self.listener.termination().is_none() {
            return Ok(None);
        }
        let all = self.certificates.iter();
        let named = all.clone().flat_map(|(certificate, config)| {
            certificate.names.iter().map(move |name| (Some(name.as_str()), config))
        });
        let chosen = name::best(named, name).or_else(|| all.map(|(_, config)| config).next());
        chosen.map(|config| Some(Arc::clone(config))).ok_or(ResetReason::NoCertificate)
    }
}
