//! Releases of the Gateway API: kinds that come, go, and are served in another version.

use anyhow::ensure;
use vipgate_lab::cluster::Channel;
use vipgate_lab::{Process, eventually};

use crate::certificates::{LISTENER, secret};
use crate::site::{SOON, Site, backend, gateway, pool, route, said};
use crate::tls;

#[test]
fn kinds_are_followed_as_their_crds_come_and_go() {
    let site = Site::bare("versions").unwrap();
    site.install_chart();
    // The controller is there first.
    let controller = site.controller("one");
    let _speaker = site.speaker();
    controller.wait_for_line("leads", SOON).unwrap();
    site.cluster.install_gateway_api("1.2.1", Channel::Experimental).unwrap();
    // The controller makes the class, as soon as there can be one.
    eventually(SOON, || site.get("gatewayclass", "vipgate")).unwrap();
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

/// A line of the log with all of these words, printed now or before.
fn logged(controller: &Process, words: &[&str]) {
    eventually(SOON, || {
        let output = controller.output().stderr_text();
        let found = output.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(found, "no line with {words:?}");
        Ok(())
    })
    .unwrap();
}

/// The standard channel had no TCPRoutes up to 1.5. What it has is served, and the cluster is upgraded
/// under a running controller and speaker: to the experimental channel for TCPRoutes, and from there to
/// the standard channel that has them.
#[test]
fn a_standard_channel_without_tcp_routes_serves_the_rest_and_is_upgraded_in_place() {
    let site = Site::bare("upgrade").unwrap();
    site.cluster.install_gateway_api("1.2.1", Channel::Standard).unwrap();
    site.install_chart();
    site.apply(&pool("10.77.0.200-10.77.0.207"));
    let controller = site.controller("one");
    let _speaker = site.speaker();
    let _echo = site.echo(7000, "hello");
    for kind in ["TCPRoute", "TLSRoute", "UDPRoute", "ListenerSet"] {
        logged(&controller, &["not served by this cluster", &format!("\"{kind}\"")]);
    }
    let class_says = |words: &[&str]| {
        eventually(SOON, || {
            let class = site.get("gatewayclass", "vipgate")?;
            let said = class["status"]["conditions"].to_string();
            ensure!(words.iter().all(|word| said.contains(word)), "{said}");
            Ok(())
        })
        .unwrap();
    };
    class_says(&["v1.2.1 is installed; not served by this API server", "TCPRoute", "ListenerSet"]);

    // HTTPS as ever.
    let issued = secret(&site, "default", "web");
    let https = LISTENER.replace(", namespace: certs", "");
    site.apply(&[&*https, tls::ROUTE, &backend("web", 7000)].join("---\n"));
    let web = site.condition("gateway", "web", "Programmed", "True/Programmed");
    let listener = &web["status"]["listeners"][0];
    assert_eq!(said(&listener["conditions"], "ResolvedRefs").unwrap(), "True/ResolvedRefs");
    let trusting = tls::client(&[&issued]);
    let mut open = eventually(SOON, || tls::talk(&site, &trusting)).unwrap();
    eventually(SOON, || {
        let route = site.get("httproute", "web")?;
        let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
        ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
        Ok(())
    })
    .unwrap();
    // A listener for TCP is served as one without a route.
    site.apply(&gateway("tcp", &[("tcp", 80)]));
    let tcp = site.condition("gateway", "tcp", "Programmed", "True/Programmed");
    assert_eq!(tcp["status"]["listeners"][0]["attachedRoutes"], 0);

    let accepted = |version: &str| {
        eventually(SOON, || {
            let kind = format!("tcproutes.{version}.gateway.networking.k8s.io");
            let route = site.get(&kind, "tcp")?;
            let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
            ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
            ensure!(site.greeting("10.77.0.201:80")? == "hello");
            Ok(route)
        })
        .unwrap()
    };
    site.cluster.install_gateway_api("1.5.1", Channel::Experimental).unwrap();
    site.apply(&route("v1alpha2", "tcp", "tcp", "web"));
    accepted("v1alpha2");
    class_says(&["v1.5.1 is installed"]);

    site.cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    logged(&controller, &["\"TCPRoute\"", "\"version\":\"v1\""]);
    class_says(&["v1.6.1 is installed"]);
    accepted("v1");
    // What changes now is seen in the new version: only that one is watched.
    assert!(site.get("tcproutes.v1alpha2.gateway.networking.k8s.io", "tcp").is_err());
    site.apply(&route("v1", "tcp", "tcp", "missing"));
    eventually(SOON, || {
        let route = site.get("tcproute", "tcp")?;
        let resolved = said(&route["status"]["parents"][0]["conditions"], "ResolvedRefs");
        ensure!(resolved.as_deref() == Some("False/BackendNotFound"), "{route}");
        Ok(())
    })
    .unwrap();
    // And HTTPS as ever, through all of it.
    tls::echoes(&mut open, "still here").unwrap();
    tls::talk(&site, &trusting).unwrap();
    assert_eq!(controller.output().stderr_text().matches("panicked").count(), 0);
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
