//! What else is on the network and on the nodes: addresses of other hosts, and ports of other programs.

use std::collections::BTreeSet;
use std::net::TcpListener;

use anyhow::{Context, ensure};
use serde_json::json;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, backend, gateway, route, said};

/// On the wire, the first address of the pool is a printer's.
#[test]
fn an_address_that_a_host_has_is_not_chosen_and_who_asks_for_it_waits() {
    let site = Site::new("printer");
    site.apply_pool();
    let printer = site.lab.node("printer").unwrap();
    let cable = printer.join(&site.lan, &format!("{VIP}/24")).unwrap();
    let only_the_printer = BTreeSet::from([cable.mac()]);
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let _echo = site.echo(7000, "hello");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    let web = site.condition("gateway", "web", "Programmed", "True/Programmed");
    let second = json!([{"type": "IPAddress", "value": "10.77.0.201"}]);
    assert_eq!(web["status"]["addresses"], second);
    assert_eq!(site.greeting("10.77.0.201:80").unwrap(), "hello");
    assert!(site.get("vip", VIP).is_err(), "the claim on the printer's address is left");

    // Who wants that address and no other has it when the printer has gone.
    let asks = gateway("asks", &[("tcp", 80)]).replace(
        "gatewayClassName",
        &format!("addresses: [{{type: IPAddress, value: {VIP}}}], gatewayClassName"),
    );
    site.apply(&asks);
    let mac = cable.mac().to_string();
    let waits = || {
        let asks = site.get("gateway", "asks")?;
        let conditions = asks["status"]["conditions"].as_array().context("no conditions")?;
        let programmed = conditions.iter().find(|condition| condition["type"] == "Programmed");
        let programmed = programmed.context("no Programmed")?;
        let text = programmed["message"].as_str().unwrap_or_default();
        ensure!(programmed["reason"] == "AddressNotUsable" && text.contains(&mac), "{programmed}");
        ensure!(programmed["status"] == "False", "{programmed}");
        let addresses = asks["status"]["addresses"].as_array().cloned().unwrap_or_default();
        ensure!(addresses.is_empty(), "{addresses:?}");
        Ok(())
    };
    eventually(SOON, waits).unwrap();
    // It is claimed for it, and the speaker says what it found.
    eventually(SOON, || {
        let vip = site.get("vip", VIP)?;
        ensure!(vip["spec"]["users"][0]["name"] == "asks", "{vip}");
        let speaker = site.get("speaker", "worker")?;
        let vips = speaker["status"]["vips"].as_array().context("no VIPs")?;
        let found = vips.iter().find(|vip| vip["address"] == VIP).context("not said")?;
        ensure!(found["state"] == "Conflict" && found["conflictMac"] == mac, "{found}");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.who_has(VIP), only_the_printer);
    waits().unwrap();
    // The other one has nothing to do with it.
    let web = site.get("gateway", "web").unwrap();
    assert_eq!(web["status"]["addresses"], second);
    assert_eq!(site.greeting("10.77.0.201:80").unwrap(), "hello");
}

/// A program of the node listens on the very address; one on all addresses would not be in the way.
#[test]
fn a_listener_that_can_bind_nowhere_is_not_programmed_and_harms_no_neighbour() {
    let site = Site::new("occupied");
    site.apply_pool();
    site.worker.sysctl("net.ipv4.ip_nonlocal_bind", "1").unwrap();
    let taken = site.worker.enter(|| TcpListener::bind("10.77.0.200:81")).unwrap();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let _echo = site.echo(7000, "hello");
    site.apply(&gateway("web", &[("taken", 81), ("free", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    let listeners = |expected: [&str; 2]| {
        eventually(SOON, || {
            let web = site.get("gateway", "web")?;
            let listeners = &web["status"]["listeners"];
            let is = |index: usize| said(&listeners[index]["conditions"], "Programmed");
            let said = [0, 1].map(|index| is(index).unwrap_or_default());
            ensure!(said == expected, "{listeners}");
            Ok(listeners[0]["conditions"].to_string())
        })
        .unwrap()
    };
    let text = listeners(["False/PortUnavailable", "True/Programmed"]);
    assert!(text.contains("10.77.0.200:81 is in use by"), "{text}");
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "hello");
    // The exception is in the node's own words, too.
    let speaker = site.get("speaker", "worker").unwrap();
    assert!(speaker["status"].to_string().contains("10.77.0.200:81"), "{speaker}");

    // So does `vipgate why`, of the port that is asked about.
    let why = |of: &str| site.why(&[of]).unwrap();
    let of_81 = why("gateway/web:81");
    assert!(of_81.contains("^ the first broken link: PortTaken"), "{of_81}");
    assert!(of_81.contains("run:    kubectl debug node/worker"), "{of_81}");
    for of in ["gateway/web:80", "10.77.0.200:80", "tcproute/web"] {
        let text = why(of);
        let is_of_80 = of.ends_with(":80");
        assert_eq!(text.contains("nc -vz 10.77.0.200 80"), is_of_80, "{of}: {text}");
        assert_eq!(text.contains('✗'), !is_of_80, "{of}: {text}");
    }

    // It goes, and the listener is bound.
    drop(taken);
    listeners(["True/Programmed", "True/Programmed"]);
    let text = why("tcproute/web");
    assert!(text.contains("✓ endpoint") && !text.contains('✗'), "{text}");
    assert_eq!(site.greeting("10.77.0.200:81").unwrap(), "hello");
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "hello");
}
