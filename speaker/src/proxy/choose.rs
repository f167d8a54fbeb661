//! Which listener, target and endpoint a connection gets.

use std::sync::Arc;

use rustls::ServerConfig;

use super::connect::Dial;
use super::connection::Owner;
use super::name;
use super::pick::Picker;
use super::stats::{ResetReason, RouteStats};
use super::table::{Entry, Forward};
use super::worker::Worker;

/// Of so many endpoints and more, half have to be left that connections keep away from the others.
const MANY: usize = 8;

/// A listener as one worker sees it.
#[derive(Debug)]
pub(super) struct Accepting {
    pub(super) entry: Arc<Entry>,
    /// One for each of the entry's `forwards`.
    rotations: Vec<Rotation>,
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

/// Where a connection goes: a target, one of its shares, and the endpoint in it to try first.
type Picked = (Arc<Forward>, usize, usize);

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
        Self { entry, rotations }
    }

    /// Where the next connection of a target goes.
    fn pick(&mut self, target: usize) -> Result<Picked, ResetReason> {
        let (Some((_, forward)), Some(rotation)) =
            (self.entry.forwards.get(target), self.rotations.get_mut(target))
        else {
            return Err(ResetReason::NoRoute);
        };
        let share = rotation.picker.pick().ok_or(ResetReason::NoEndpoint)?;
        let endpoints = &forward.shares[share].endpoints;
        if endpoints.is_empty() {
            return Err(ResetReason::NoEndpoint);
        }
        let cursor = &mut rotation.cursors[share];
        let turn = *cursor % endpoints.len();
        // Where most of many are ejected, those that are left are not to get it all; where all are,
        // somebody has to be asked.
        let reach =
            if endpoints.len() < MANY { endpoints.len() } else { endpoints.len().div_ceil(2) };
        let mut from_there = (turn..endpoints.len()).chain(0..turn).take(reach);
        let place = from_there.find(|place| !endpoints[*place].is_ejected()).unwrap_or(turn);
        *cursor = place + 1;
        Ok((Arc::clone(forward), share, place))
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
        (Some(entry.owner(slot)), entry.terms(name))
    }

    /// Picks for a connection to a listener that asks for a name. The route, if there is one, and what
    /// came of picking.
    pub(super) fn pick(
        &mut self,
        listener: u32,
        name: Option<&str>,
    ) -> (Option<Arc<RouteStats>>, Result<Dial, ResetReason>) {
        let accepting = self.listeners.get_mut(listener as usize).and_then(Option::as_mut);
        let Some(accepting) = accepting else { return (None, Err(ResetReason::ListenerGone)) };
        let target = match accepting.entry.target(name) {
            Ok(target) => target,
            Err(reason) => return (None, Err(reason)),
        };
        let route = accepting.entry.routes.get(target).cloned();
        let picked = accepting.pick(target);
        let dial = |(forward, share, first)| Dial::new(forward, share, first, self.now);
        (route, picked.map(dial))
    }

    /// The route that a listener has for a name.
    pub(super) fn route(&self, listener: u32, name: Option<&str>) -> Option<Arc<RouteStats>> {
        let entry = &self.listeners.get(listener as usize)?.as_ref()?.entry;
        entry.routes.get(entry.target(name).ok()?).cloned()
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
