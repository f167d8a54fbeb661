//! Graceful restart of a Service behind kube-proxy: a speaker dies and comes back while a client beyond a
//! router goes on opening connections. What the kernel forwards is kept; what we forward is not.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use vipgate_lab::cluster::ProxyMode;
use vipgate_lab::routers::PeerSetup;
use vipgate_lab::{Node, eventually};

use crate::callers::meanwhile;
use crate::kube_proxy::{ECHO, run};
use crate::routed::{Beside, ROUTED as SERVICE, ROUTER};
use crate::site::{NAMESPACE, SOON, Site, backend, gateway, route};

/// The second address of the pool.
const GATEWAY: &str = "192.0.2.11";
/// Longer than a VIP stays on a host whose speaker is gone.
const AWAY: Duration = Duration::from_secs(8);

fn peer(restarts: bool) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor, namespace: {NAMESPACE}}}\n\
         spec: {{myASN: 65001, peerASN: 65002, peerAddress: {ROUTER}, connectTime: 2s, \
         enableGracefulRestart: {restarts}}}\n"
    )
}

const ADVERTISEMENT: &str = "apiVersion: vipgate.dev/v1alpha1\nkind: BGPAdvertisement\n\
    metadata: {name: all, namespace: vipgate-system}\nspec: {}\n";

/// What the session can do; nothing while it is not established.
fn capabilities(site: &Site) -> anyhow::Result<String> {
    let speaker = site.get("speaker", "worker")?;
    let peer = &speaker["status"]["peers"][0];
    ensure!(peer["state"] == "Established", "{peer}");
    Ok(peer["capabilities"].to_string())
}

fn has_restart(site: &Site, has: bool) {
    eventually(SOON * 2, || {
        let capabilities = capabilities(site)?;
        ensure!(capabilities.contains("graceful-restart") == has, "{capabilities}");
        Ok(())
    })
    .unwrap();
}

/// A client that a router told of a shorter way would go on without it.
fn takes_no_shortcut(client: &Node, router: &Node) {
    for conf in ["all", "eth0"] {
        client.sysctl(&format!("net.ipv4.conf.{conf}.accept_redirects"), "0").unwrap();
        router.sysctl(&format!("net.ipv4.conf.{conf}.send_redirects"), "0").unwrap();
    }
}

/// MetalLB: "dataplane keeps working with GR", "downtime without GR".
#[test]
fn connections_to_a_service_go_on_while_its_speaker_is_away_and_to_a_gateway_they_go_elsewhere() {
    let site = Site::new("restart");
    let neighbour = PeerSetup { graceful_restart: true, ..PeerSetup::new(ROUTER, "10.77.0.2") };
    let beside = Beside::new(&site, vec![neighbour]);
    let router = &beside.router;
    takes_no_shortcut(&site.client, &beside.machine);
    site.apply(&[peer(true).as_str(), ADVERTISEMENT].join("---\n"));
    let _running = run(&site, ProxyMode::Nftables).unwrap();
    let _controller = site.controller("one");
    let mut speaker = site.speaker();
    site.apply(ECHO);
    router.forwards(SERVICE, &["10.77.0.2"], SOON * 2).unwrap();
    has_restart(&site, true);
    eventually(SOON, || site.greeting(&format!("{SERVICE}:80")).context("no answer")).unwrap();

    let begun = |site: &Site| {
        let speaker = site.speaker();
        speaker.wait_for_line("BGP session established", SOON * 2).unwrap();
        speaker
    };
    let kept = AtomicBool::new(false);
    let (answered, failed) =
        meanwhile(&site, &format!("{SERVICE}:80"), "Gateway API Test TCP Server", || {
            std::thread::sleep(Duration::from_secs(1));
            speaker.kill();
            std::thread::sleep(AWAY);
            kept.store(router.next_hops(SERVICE).unwrap() == ["10.77.0.2"], Relaxed);
            speaker = begun(&site);
            std::thread::sleep(Duration::from_secs(4));
        });
    println!("killed and back after {AWAY:?}: {answered} connections, {failed} failed");
    assert!(kept.load(Relaxed), "the router has dropped the route: {}", router.tell());
    assert!(answered > 200 && failed == 0, "{answered} answered, {failed} failed");
    router.forwards(SERVICE, &["10.77.0.2"], SOON).unwrap();
    has_restart(&site, true);

    // With a Gateway's VIP among them nothing is kept: nobody is there who would accept.
    site.apply(&gateway("web", &[("tcp", 80)]));
    let _echo = site.echo(7000, "hello");
    site.apply(&[backend("web", 7000), route("v1", "web", "web", "web")].join("---\n"));
    // The promise is taken back before the router hears of it; for IPv6 it stays.
    router.forwards(GATEWAY, &["10.77.0.2"], SOON).unwrap();
    eventually(SOON, || {
        ensure!(site.greeting(&format!("{GATEWAY}:80"))? == "hello", "another one answers");
        Ok(())
    })
    .unwrap();
    router.forwards(SERVICE, &["10.77.0.2"], SOON).unwrap();
    speaker.kill();
    router.forwards(GATEWAY, &[], SOON).unwrap();
    router.forwards(SERVICE, &[], SOON).unwrap();

    // Control: who does not ask for it loses its routes, and clients see that.
    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    site.apply(&peer(false));
    let mut speaker = begun(&site);
    router.forwards(SERVICE, &["10.77.0.2"], SOON * 2).unwrap();
    has_restart(&site, false);
    let (answered, failed) =
        meanwhile(&site, &format!("{SERVICE}:80"), "Gateway API Test TCP Server", || {
            std::thread::sleep(Duration::from_secs(1));
            speaker.kill();
            router.forwards(SERVICE, &[], SOON).unwrap();
            std::thread::sleep(Duration::from_secs(2));
        });
    println!("without it: {answered} connections, {failed} failed");
    assert!(answered > 10 && failed > 0, "{answered} answered, {failed} failed");
}
