//! What both engines have of the host.

use std::net::SocketAddr;

use vipgate_api::ObjectKey;
use vipgate_planner::{Listener, ListenerSettings, Service};

use super::*;
use crate::access_log::AccessLog;
use crate::{proxy, udp};

/// A listener without a route, at a port that the kernel chooses.
fn listener(name: &str, service: Service) -> Listener {
    let bind: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let id = ListenerId {
        gateway: ObjectKey::new("default", "gw"),
        set: None,
        name: name.to_owned(),
        address: bind.ip(),
    };
    let settings = Arc::new(ListenerSettings::of_datagrams());
    Listener { id, bind, service, attached: [].into(), settings }
}

#[test]
fn files_are_kept_for_datagrams_while_there_is_a_listener_for_them() {
    let workers = 2.try_into().unwrap();
    let udp = udp::Config { workers, sessions: 1000, ..udp::Config::default() };
    let proxy = proxy::Config { workers, ..proxy::Config::default() };
    let engines = Engines::start(proxy, udp, &AccessLog::default()).unwrap();
    let limit_with = |listeners: Vec<Listener>| {
        let listeners = listeners.into_iter().map(Arc::new).collect();
        let (states, _) = bind(&engines, &Plan { listeners, ..Plan::default() });
        assert!(states.values().all(|state| *state == ListenerState::Bound), "{states:?}");
        engines.proxy.snapshot().limit
    };
    let (tcp, udp) = (listener("t", Service::Tcp(None)), listener("u", Service::Udp(None)));
    let alone = limit_with(vec![tcp.clone()]);
    let both = limit_with(vec![tcp.clone(), udp]);
    // Two files for a connection; one for a session, and one for the socket of each worker.
    assert_eq!(alone - both, (1000 + 2) / 2);
    assert_eq!(limit_with(vec![tcp]), alone, "they are given back");
}
