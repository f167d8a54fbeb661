//! A node says of each listener that ends TLS whether it has a certificate for it.

#![allow(missing_docs, reason = "a test has no public items")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use vipgate_api::ObjectKey;
use vipgate_planner::plan::ByName;
use vipgate_planner::{
    Announce, Certificate, Listener, ListenerId, ListenerState, Plan, Service, Termination, Vip,
    VipState,
};
use vipgate_speaker::access_log::AccessLog;
use vipgate_speaker::node::{Config, Speaker};
use vipgate_speaker::{proxy, udp};

/// In 127.0.0.0/8, which needs no privilege, and nobody else's.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 83, 17, 9));

fn certificate() -> Arc<Certificate> {
    let signed = rcgen::generate_simple_self_signed(["web.example.com".to_owned()]).unwrap();
    Arc::new(Certificate {
        secret: ObjectKey::new("default", "web"),
        names: vec!["web.example.com".to_owned()],
        chain: vec![signed.cert.der().to_vec()],
        key: signed.signing_key.serialize_der(),
    })
}

fn plan(certificates: Vec<Arc<Certificate>>) -> Arc<Plan> {
    let id = ListenerId {
        gateway: ObjectKey::new("default", "web"),
        set: None,
        name: "tls".to_owned(),
        address: ADDRESS,
    };
    let listener = Listener {
        id,
        bind: SocketAddr::new(ADDRESS, 8443),
        service: Service::Https(
            ByName::default(),
            Termination { certificates, ..Termination::default() },
        ),
        attached: [].into(),
        settings: Arc::default(),
    };
    let vip = Vip::new(ADDRESS, Announce::Loopback);
    let vips = [(ADDRESS, vip)].into();
    Arc::new(Plan { vips, listeners: vec![listener.into()], ..Plan::default() })
}

#[tokio::test]
async fn a_listener_waits_for_its_certificate_and_its_address_does_not() {
    let config = Config {
        node: "node".to_owned(),
        proxy: proxy::Config::default(),
        udp: udp::Config::default(),
        access_log: AccessLog::default(),
        announce_every: Duration::from_secs(30),
        grouped: false,
        asking: vipgate_speaker::reach::Asking::Off,
    };
    let speaker = Speaker::start(config).await.unwrap();
    let mut reports = speaker.reports();
    for (certificates, state) in [
        (Vec::new(), ListenerState::NoCertificate),
        (vec![certificate()], ListenerState::Bound),
        (Vec::new(), ListenerState::NoCertificate),
    ] {
        speaker.apply(plan(certificates));
        let said = reports.wait_for(|report| report.listeners.values().eq([&state]));
        let report = tokio::time::timeout(Duration::from_secs(20), said).await.unwrap().unwrap();
        assert_eq!(report.vips[&ADDRESS], VipState::Serving(Vec::new()));
    }
    speaker.drain(Duration::ZERO).await;
}
