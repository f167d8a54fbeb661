//! What the settings of a port's listeners say of a connection before it is known which of them it means.
//!
//! A PROXY header comes before everything else, so where several listeners share a port, the senders that
//! any of them trusts begin with one at all of them; and a client has the time that the most patient one
//! gives. The rest waits until the listener is chosen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipgate_api::vipgate::Transport;
use vipgate_planner::{Keepalive, Listener, ListenerSettings};

use crate::access_log::Place;
use crate::clients::Ranges;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// From where connections begin with a PROXY header.
    proxy_from: Ranges,
    /// From accept until the client has said what it wants.
    pub(super) handshake_timeout: Duration,
    /// What the listening socket has: that of the first listener that has one.
    pub(super) keepalive: Option<Keepalive>,
    /// Whether some listener has settings about new connections. Where none has, nobody pays for them.
    pub(super) guarded: bool,
    /// Whether some listener has to know the client's address.
    pub(super) looks: bool,
    /// Where connections are logged that end before a listener is chosen.
    pub(super) log: Option<Arc<Place>>,
}

impl Door {
    /// Of these listeners, which share a port. What stays the same is kept.
    pub(super) fn of(
        bind: SocketAddr,
        listeners: &[&Listener],
        old: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let settings = || listeners.iter().map(|listener| &*listener.settings);
        let proxy_from: Vec<IpNet> =
            settings().flat_map(|settings| settings.proxy_from.iter().copied()).collect();
        let one_of =
            settings().filter_map(|settings| settings.access_log).map(|log| log.one_of).min();
        let place = one_of.map(|one_of| Arc::new(Place::new(None, bind, Transport::Tcp, one_of)));
        let door = Self {
            proxy_from: Ranges::new(&proxy_from),
            handshake_timeout: settings().map(|s| s.handshake_timeout).max().unwrap_or_default(),
            keepalive: settings().find_map(|settings| settings.keepalive),
            guarded: settings().any(guards),
            looks: settings().any(looks),
            log: place,
        };
        match old {
            Some(old) if **old == door => Arc::clone(old),
            _ => Arc::new(door),
        }
    }

    /// Whether any sender begins with a PROXY header.
    pub(super) fn takes_headers(&self) -> bool {
        !self.proxy_from.is_empty()
    }

    /// Whether a connection from there begins with a PROXY header.
    pub(super) fn expects_header(&self, from: IpAddr) -> bool {
        self.proxy_from.has(from)
    }
}

/// Whether settings say anything of new connections.
pub(super) fn guards(settings: &ListenerSettings) -> bool {
    looks(settings)
        || settings.connections.is_some()
        || settings.rate.is_some()
        || settings.keepalive.is_some()
}

/// Whether the client's address matters.
pub(super) fn looks(settings: &ListenerSettings) -> bool {
    !settings.proxy_from.is_empty()
        || !settings.allowed.is_empty()
        || !settings.denied.is_empty()
        || settings.connections_per_source.is_some()
        || settings.access_log.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_say_nothing_cost_nothing() {
        assert!(!guards(&ListenerSettings::default()));
        let patient = ListenerSettings {
            handshake_timeout: Duration::from_secs(9),
            idle_timeout: None,
            ..ListenerSettings::default()
        };
        assert!(!guards(&patient));
        let bounded = ListenerSettings { connections: Some(1), ..ListenerSettings::default() };
        assert!(guards(&bounded) && !looks(&bounded));
    }
}
