//! Releases of the Gateway API: kinds that come, go, and are served in another version.

use anyhow::ensure;
use vipgate_lab::cluster::Channel;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, backend, gateway, pool, route, said};

#[test]
fn kinds_are_followed_as_their_crds_come_and_go() {
    let site = Site::bare("versions").unwrap();
    site.install_chart();
    // The controller is there first.
    let controller = site.controller("one");
    let _speaker = site.speaker();
    controller.wait_for_line("leads", SOON).unwrap();
    site.cluster.install_gateway_api("1.2.1", Channel::Experimental).unwrap();
    // The chart could not have a class yet; an upgrade brings it.
    assert!(site.get("gatewayclass", "vipgate").is_err());
    site.install_chart();
    site.apply(&pool("10.77.0.200-10.77.0.207"));
    let _echo = site.echo(7000, "old");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1alpha2", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let accepted = |kind: &str| {
        eventually(SOON, || {
            let route = site.get(kind, "web")?;
            let conditions = &route["status"]["parents"][0]["conditions"];
            ensure!(said(conditions, "Accepted").as_deref() == Some("True/Accepted"), "{route}");
            Ok(())
        })
        .unwrap();
    };
    accepted("tcproutes.v1alpha2.gateway.networking.k8s.io");
    eventually(SOON, || {
        ensure!(site.greeting("10.77.0.200:80")? == "old");
        Ok(())
    })
    .unwrap();

    // Then it is upgraded: v1 comes, traffic goes on.
    site.cluster.install_gateway_api("1.6.1", Channel::Experimental).unwrap();
    controller.wait_for_line("\"version\":\"v1\"", SOON).unwrap();
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "old");
    accepted("tcproutes.v1.gateway.networking.k8s.io");

    // And the kind goes altogether: the Gateway stays.
    let crd = "tcproutes.gateway.networking.k8s.io";
    site.cluster.kubectl(["delete", "crd", crd]).unwrap();
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        ensure!(web["status"]["listeners"][0]["attachedRoutes"] == 0, "{web}");
        Ok(())
    })
    .unwrap();
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || {
        let class = site.get("gatewayclass", "vipgate")?;
        let said = class["status"]["conditions"].to_string();
        ensure!(said.contains("v1.6.1 is installed; not served"), "{said}");
        ensure!(said.contains("TCPRoute"), "{said}");
        Ok(())
    })
    .unwrap();
}

/// Each release from 1.2 on, with TCPRoutes: from an empty cluster to traffic and back.
#[test]
#[ignore = "takes minutes: make lab"]
fn long_every_release_of_the_gateway_api_serves() {
    use Channel::{Experimental, Standard};
    let releases = [
        ("1.2.1", Experimental, "v1alpha2"),
        ("1.3.0", Experimental, "v1alpha2"),
        ("1.4.1", Experimental, "v1alpha2"),
        ("1.5.1", Experimental, "v1alpha2"),
        ("1.6.1", Experimental, "v1"),
        ("1.6.3", Experimental, "v1"),
        ("1.6.1", Standard, "v1"),
        ("1.6.3", Standard, "v1"),
    ];
    for (release, channel, version) in releases {
        println!("Gateway API {release}, {channel:?}");
        let site = Site::bare("release").unwrap();
        site.cluster.install_gateway_api(release, channel).unwrap();
        site.install_chart();
        site.apply(&pool("10.77.0.200-10.77.0.207"));
        let (_controller, _speaker) = (site.controller("one"), site.speaker());
        let _echo = site.echo(7000, release);
        site.apply(&gateway("web", &[("tcp", 80)]));
        site.apply(&route(version, "web", "web", "web"));
        site.apply(&backend("web", 7000));
        site.condition("gateway", "web", "Programmed", "True/Programmed");
        eventually(SOON, || {
            let heard = site.greeting("10.77.0.200:80")?;
            ensure!(heard == release, "{heard}");
            let kind = format!("tcproutes.{version}.gateway.networking.k8s.io");
            let route = site.get(&kind, "web")?;
            let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
            ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
            Ok(())
        })
        .unwrap();
        site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
        eventually(SOON, || {
            ensure!(site.connect("10.77.0.200:80").is_err(), "the VIP still answers");
            Ok(())
        })
        .unwrap();
    }
}
