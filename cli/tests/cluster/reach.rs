//! From everywhere to a VIP: from the LAN and from behind a router, from the owner and its pods, and
//! from another node, which stands by for it, and its pods.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use vipgate_lab::cluster::{EmptyPod, Images, ProxyMode};
use vipgate_lab::{Node, eventually, patience};

use crate::kube_proxy::ECHO;
use crate::site::{SOON, Site, backend, gateway, greeting_of, route};

/// Somewhere to connect from.
enum Place<'a> {
    Machine(&'a Node),
    Pod(&'a EmptyPod),
}

impl Place<'_> {
    fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Machine(node) => node.enter(work),
            Self::Pod(pod) => pod.enter(work),
        }
    }

    fn greeting(&self, to: SocketAddr) -> std::io::Result<String> {
        let within = patience(Duration::from_secs(3));
        let stream = self.enter(|| TcpStream::connect_timeout(&to, within))?;
        stream.set_read_timeout(Some(within))?;
        greeting_of(stream)
    }

    fn pings(&self, vip: &str) -> bool {
        let ping = || Command::new("ping").args(["-c", "1", "-W", "3", vip]).output();
        self.enter(ping).is_ok_and(|output| output.status.success())
    }
}

fn a_vip_is_reached_from_everywhere(mode: ProxyMode, name: &str) {
    let site = Site::new(name);
    site.apply_pool();
    let workers = [
        site.cluster.add_worker(&site.worker, "worker", "10.77.0.2".parse().unwrap()).unwrap(),
        site.cluster.add_worker(&site.servers, "servers", "10.77.0.4".parse().unwrap()).unwrap(),
    ];
    let _proxies = [0, 1].map(|number| site.cluster.kube_proxy(&workers[number], mode).unwrap());
    let _pods = site.cluster.play_pods(&workers, Images::of_conformance().unwrap()).unwrap();
    let pods = [0, 1].map(|number| site.cluster.empty_pod(&workers[number]).unwrap());

    // Another subnet, which the nodes reach through a router.
    let there = site.lab.bridge("there").unwrap();
    let (router, far) = (site.lab.node("router").unwrap(), site.lab.node("far").unwrap());
    let _cables = [
        router.join(&site.lan, "10.77.0.9/24").unwrap(),
        router.join(&there, "10.88.0.1/24").unwrap(),
        far.join(&there, "10.88.0.2/24").unwrap(),
    ];
    router.sysctl("net.ipv4.ip_forward", "1").unwrap();
    far.default_route("10.88.0.1").unwrap();
    for node in [&site.worker, &site.servers] {
        node.run("ip", ["route", "add", "10.88.0.0/24", "via", "10.77.0.9"]).unwrap();
    }

    let _controller = site.controller("one");
    let _owner = site.speaker();
    let _echo = site.echo(7000, "listener");
    // A daemon of the owner on all addresses, which nobody is to meet on a VIP.
    let _daemon =
        vipgate_lab::servers::echo(&site.worker, "0.0.0.0:22".parse().unwrap(), "sshd").unwrap();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    site.apply(ECHO);
    let service_vip = eventually(SOON, || {
        let service = site.get("service", "echo")?;
        let vip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        let vip = vip.context("the Service has no address yet")?.to_owned();
        site.greeting(&format!("{vip}:80"))?;
        Ok(vip)
    })
    .unwrap();
    let gateway_vip = "10.77.0.200";
    assert_ne!(service_vip, gateway_vip);

    // The other node comes later, and takes nothing: it has the listeners, and not the addresses.
    let _standby = site.speaker_on(&site.servers, "servers", "10.77.0.4");
    eventually(SOON, || {
        let sockets = site.servers.run("ss", ["-Hltn", "src", gateway_vip])?;
        ensure!(sockets.contains("10.77.0.200:80"), "{sockets}");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.who_has(gateway_vip), [site.cables.worker.mac()].into());

    for (place, from) in [
        ("the LAN", Place::Machine(&site.client)),
        ("behind the router", Place::Machine(&far)),
        ("the owner", Place::Machine(&site.worker)),
        ("a pod on the owner", Place::Pod(&pods[0])),
        ("another node", Place::Machine(&site.servers)),
        ("a pod on another node", Place::Pod(&pods[1])),
    ] {
        for (vip, greeting) in
            [(gateway_vip, "listener"), (&*service_vip, "Gateway API Test TCP Server")]
        {
            let to = |port| SocketAddr::new(vip.parse().unwrap(), port);
            let heard = from.greeting(to(80));
            assert_eq!(heard.ok().as_deref(), Some(greeting), "{vip} from {place}");
            assert!(from.pings(vip), "{vip} from {place}");
            let refused = from.greeting(to(22)).map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "{vip} from {place}");
        }
    }
}

#[test]
fn a_vip_is_reached_from_everywhere_beside_kube_proxy_with_nftables() {
    a_vip_is_reached_from_everywhere(ProxyMode::Nftables, "reach-nft");
}

#[test]
fn a_vip_is_reached_from_everywhere_beside_kube_proxy_with_iptables() {
    a_vip_is_reached_from_everywhere(ProxyMode::Iptables, "reach-ipt");
}
