//! From everywhere to a VIP of either family: from the LAN and from behind a router, from the owner and
//! its pods, and from another node, which stands by for it, and its pods.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use vipgate_lab::cluster::{EmptyPod, Images, ProxyMode};
use vipgate_lab::{Node, eventually, patience};

use crate::kube_proxy::ECHO;
use crate::site::{SOON, Site, VIP, VIP6, backend, gateway, greeting_of, route};

const DUAL_STACK: &str = "type: LoadBalancer\n  ipFamilyPolicy: RequireDualStack";

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
    site.apply_dual_pool();
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
    let cable = |node: &Node, bridge, addresses: [&str; 2]| {
        let cable = node.join(bridge, addresses[0]).unwrap();
        cable.add_address(addresses[1]).unwrap();
        cable
    };
    let _cables = [
        cable(&router, &site.lan, ["10.77.0.9/24", "fd77::9/64"]),
        cable(&router, &there, ["10.88.0.1/24", "fd88::1/64"]),
        cable(&far, &there, ["10.88.0.2/24", "fd88::2/64"]),
    ];
    router.sysctl("net.ipv4.ip_forward", "1").unwrap();
    router.sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    far.default_route("10.88.0.1").unwrap();
    far.run("ip", ["route", "add", "default", "via", "fd88::1"]).unwrap();
    for node in [&site.worker, &site.servers] {
        node.run("ip", ["route", "add", "10.88.0.0/24", "via", "10.77.0.9"]).unwrap();
        node.run("ip", ["route", "add", "fd88::/64", "via", "fd77::9"]).unwrap();
    }

    let _controller = site.controller("one");
    let _owner = site.speaker();
    let _echo = site.echo(7000, "listener");
    // A daemon of the owner on all addresses, which nobody is to meet on a VIP.
    let _daemon =
        vipgate_lab::servers::echo(&site.worker, "[::]:22".parse().unwrap(), "sshd").unwrap();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    site.apply(&ECHO.replace("type: LoadBalancer", DUAL_STACK));
    let service_vips: Vec<IpAddr> = eventually(SOON, || {
        let service = site.get("service", "echo")?;
        let given = service["status"]["loadBalancer"]["ingress"].as_array();
        let given = given.into_iter().flatten().filter_map(|one| one["ip"].as_str()?.parse().ok());
        let given: Vec<IpAddr> = given.collect();
        ensure!(given.len() == 2, "the Service has {given:?}");
        for vip in &given {
            site.greeting(&SocketAddr::new(*vip, 80).to_string())?;
        }
        Ok(given)
    })
    .unwrap();
    let gateway_vips: [IpAddr; 2] = [VIP, VIP6].map(|vip| vip.parse().unwrap());
    assert!(gateway_vips.iter().all(|vip| !service_vips.contains(vip)), "{service_vips:?}");

    // The other node comes later, and takes nothing: it has the listeners, and not the addresses.
    let _standby = site.speaker_on(&site.servers, "servers", "10.77.0.4");
    eventually(SOON, || {
        let sockets = site.servers.run("ss", ["-Hltn", "src", VIP])?;
        ensure!(sockets.contains(&format!("{VIP}:80")), "{sockets}");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.who_has(VIP), [site.cables.worker.mac()].into());

    for (place, from) in [
        ("the LAN", Place::Machine(&site.client)),
        ("behind the router", Place::Machine(&far)),
        ("the owner", Place::Machine(&site.worker)),
        ("a pod on the owner", Place::Pod(&pods[0])),
        ("another node", Place::Machine(&site.servers)),
        ("a pod on another node", Place::Pod(&pods[1])),
    ] {
        let listener = gateway_vips.iter().map(|vip| (*vip, "listener"));
        let pod = service_vips.iter().map(|vip| (*vip, "Gateway API Test TCP Server"));
        for (vip, greeting) in listener.chain(pod) {
            let to = |port| SocketAddr::new(vip, port);
            let heard = from.greeting(to(80));
            assert_eq!(heard.ok().as_deref(), Some(greeting), "{vip} from {place}");
            assert!(from.pings(&vip.to_string()), "{vip} from {place}");
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
