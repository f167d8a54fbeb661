//! Policies, from their manifests to what clients and servers see of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, Vipgate, backend};

/// A ListenerPolicy for the Gateway `web`.
fn of_listeners(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: ListenerPolicy\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: web}}]\n  {spec}\n"
    )
}

/// A BackendPolicy for the Backend `web`.
fn of_backend(spec: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BackendPolicy\nmetadata: {{name: web, namespace: default}}\n\
         spec:\n  targetRefs: [{{group: vipgate.dev, kind: Backend, name: web}}]\n  {spec}\n"
    )
}

fn web() -> String {
    format!("{VIP}:80")
}

/// A connection that was served, greeted already.
fn served(site: &Site) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(site.connect(&web())?);
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}

fn echoes(stream: &mut BufReader<TcpStream>) -> bool {
    let mut back = [0; 5];
    stream.get_mut().write_all(b"still").is_ok()
        && stream.read_exact(&mut back).is_ok()
        && &back == b"still"
}

/// The lines of the access log so far.
fn log(vipgate: &Vipgate) -> Vec<Value> {
    let text = vipgate.process.output().stdout_text();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn clients_are_treated_as_the_policy_of_their_listener_says() {
    let site = Site::new("clients");
    let _echo = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let mut first = served(&site).unwrap();

    site.write("policy.yaml", &of_listeners("strict", "deniedSourceRanges: [10.77.0.10/32]"));
    eventually(SOON, || {
        ensure!(served(&site).is_err(), "it is served all the same");
        Ok(())
    })
    .unwrap();
    assert!(echoes(&mut first), "who is connected stays so");
    drop(first);

    site.write(
        "policy.yaml",
        &of_listeners("strict", "limits: {connections: 1}\n  accessLog: {enabled: true}"),
    );
    let mut one = eventually(SOON, || Ok(served(&site)?)).unwrap();
    assert!(served(&site).is_err(), "there is room for one");
    assert!(echoes(&mut one), "and that one is not disturbed");
    drop(one);
    let lines = eventually(SOON, || {
        let lines = log(&vipgate);
        let reasons: Vec<_> = lines.iter().map(|line| line["reason"].clone()).collect();
        ensure!(
            reasons.contains(&"too_many".into()) && reasons.contains(&"orderly".into()),
            "{lines:?}"
        );
        Ok(lines)
    });
    for line in lines.unwrap() {
        let client = line["client"].as_str().unwrap();
        assert!(client.starts_with("10.77.0.10:"), "{line}");
        assert_eq!((&line["gateway"], &line["listener"]), (&"default/web".into(), &"tcp".into()));
        let is_served = line["reason"] == "orderly";
        assert_eq!(line["endpoint"] == "10.77.0.21:80", is_served, "{line}");
    }
    eventually(SOON, || Ok(served(&site)?)).expect("the place is free again");
}

#[test]
fn a_policy_that_does_not_count_says_why() {
    let site = Site::new("polstatus");
    let _echo = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    site.write("a.yaml", &of_listeners("older", "idleTimeout: 30m"));
    site.write("b.yaml", &of_listeners("younger", "deniedSourceRanges: [10.77.0.0/24]"));
    let missing =
        of_backend("balancing: Maglev").replace("Backend, name: web", "Backend, name: absent");
    site.write("c.yaml", &missing);
    let vipgate = site.start();
    eventually(SOON, || {
        let report = vipgate.report(&site.node)?;
        let problems = report["problems"].to_string();
        ensure!(problems.contains("younger") && problems.contains("older"), "{problems}");
        ensure!(problems.contains("absent"), "{problems}");
        ensure!(served(&site).is_ok(), "the younger policy counts");
        Ok(())
    })
    .unwrap();
    // Whoever takes the older one away gives the other its place.
    std::fs::remove_file(site.manifests.join("a.yaml")).unwrap();
    eventually(SOON, || {
        ensure!(served(&site).is_err(), "the younger policy does not count");
        Ok(())
    })
    .unwrap();
}

/// A server in a pod's place behind the node, which says who connects.
fn says_who(pod: &vipgate_lab::Node) {
    let listener = pod.enter(|| TcpListener::bind("10.78.0.2:9000")).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = writeln!(stream, "{}", peer.ip());
        }
    });
}

#[test]
fn a_server_on_the_node_sees_who_connects() {
    let site = Site::new("preserve");
    let pods = site.lab.bridge("pods").unwrap();
    let pod = site.lab.node("pod").unwrap();
    let _links =
        [site.node.join(&pods, "10.78.0.1/24").unwrap(), pod.join(&pods, "10.78.0.2/24").unwrap()];
    pod.default_route("10.78.0.1").unwrap();
    says_who(&pod);
    site.write_web(&[]);
    site.write("backend.yaml", &backend("web", &["10.78.0.2:9000"]));
    let vipgate = site.start();
    site.healthy(&vipgate);
    let seen = || site.greeting(&web());
    assert_eq!(seen().unwrap(), "10.78.0.1", "control: the node connects");

    site.write("policy.yaml", &of_backend("clientAddress: Preserve"));
    eventually(SOON, || {
        let seen = seen()?;
        ensure!(seen == "10.77.0.10", "{seen}");
        Ok(())
    })
    .unwrap();
    assert!(site.node.run("ip", ["rule"]).unwrap().contains("0x1000"));

    std::fs::remove_file(site.manifests.join("policy.yaml")).unwrap();
    eventually(SOON, || {
        let seen = seen()?;
        ensure!(seen == "10.78.0.1", "{seen}");
        let rules = site.node.run("ip", ["rule"])?;
        ensure!(!rules.contains("0x1000"), "{rules}");
        Ok(())
    })
    .unwrap();
}

/// Nodes that hash agree without a word about it; here two processes, one after the other, and one client.
#[test]
fn a_client_goes_where_its_address_says_whoever_forwards() {
    let site = Site::new("maglev");
    let names = ["10.77.0.21:80", "10.77.0.22:80", "10.77.0.23:80", "10.77.0.24:80"];
    let _echoes: Vec<_> = names.iter().map(|name| site.echo(name)).collect();
    site.write_web(&names);
    for balancing in ["SourceHash", "Maglev"] {
        site.write("policy.yaml", &of_backend(&format!("balancing: {balancing}")));
        let mut chosen = Vec::new();
        for _ in 0..2 {
            let mut vipgate = site.start();
            site.healthy(&vipgate);
            for _ in 0..8 {
                chosen.push(site.greeting(&web()).unwrap());
            }
            vipgate.process.terminate(Duration::from_secs(15)).unwrap();
        }
        chosen.dedup();
        assert_eq!(chosen.len(), 1, "{balancing}: {chosen:?}");
    }
    // Control: without it the endpoints take turns.
    std::fs::remove_file(site.manifests.join("policy.yaml")).unwrap();
    let vipgate = site.start();
    site.healthy(&vipgate);
    let others = (0..8).map(|_| site.greeting(&web()).unwrap());
    assert!(others.collect::<std::collections::BTreeSet<_>>().len() > 1);
}
