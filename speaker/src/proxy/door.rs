//! What the settings of a port's listeners say of a connection before it is known which of them it means,
//! and what a listener's settings say of who may connect.
//!
//! A PROXY header comes before everything else, so where several listeners share a port, the senders that
//! any of them trusts begin with one at all of them; and a client has the time that the most patient one
//! gives. The rest waits until the listener is chosen.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipgate_planner::{Keepalive, Listener, ListenerSettings};

use super::access_log::Place;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// From where connections begin with a PROXY header.
    proxy_from: Vec<IpNet>,
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
        let mut proxy_from: Vec<IpNet> =
            settings().flat_map(|settings| settings.proxy_from.iter().copied()).collect();
        proxy_from.sort_unstable();
        proxy_from.dedup();
        let one_of =
            settings().filter_map(|settings| settings.access_log).map(|log| log.one_of).min();
        let place = one_of.map(|one_of| Arc::new(Place::new(None, bind, one_of)));
        let door = Self {
            proxy_from,
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
        has(&self.proxy_from, from)
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

/// Whether a client may connect by its address.
pub(super) fn allows(settings: &ListenerSettings, client: IpAddr) -> bool {
    (settings.allowed.is_empty() || has(&settings.allowed, client))
        && !has(&settings.denied, client)
}

fn has(ranges: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    ranges.iter().any(|range| range.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn who_is_denied_is_not_allowed_and_no_list_is_everybody() {
        let some = ListenerSettings {
            allowed: nets(&["10.0.0.0/8", "2001:db8::/32"]),
            denied: nets(&["10.1.0.0/16"]),
            ..ListenerSettings::default()
        };
        let may = |settings: &ListenerSettings, text: &str| allows(settings, text.parse().unwrap());
        assert!(
            may(&some, "10.2.0.1") && may(&some, "::ffff:10.2.0.1") && may(&some, "2001:db8::1")
        );
        assert!(
            !may(&some, "10.1.0.1") && !may(&some, "::ffff:10.1.0.1") && !may(&some, "192.0.2.1")
        );
        assert!(!may(&some, "2001:db9::1"));
        let open = ListenerSettings::default();
        assert!(may(&open, "10.1.0.1") && may(&open, "::1"));
        let denying = ListenerSettings { denied: nets(&["::/0"]), ..ListenerSettings::default() };
        assert!(may(&denying, "10.1.0.1") && !may(&denying, "::1"));
    }

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
