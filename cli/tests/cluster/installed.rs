//! What an installation does of itself: makes the objects that its values ask for, says how it is, and
//! tests itself, each with the rights that the chart gives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{Channel, template_chart};
use vipgate_lab::{Node, Program, eventually, prometheus};

use crate::chart::exists;
use crate::rights::of_account;
use crate::services::service;
use crate::site::{NAMESPACE, SOON, Site, VIP, gateway, pool};

/// What a process answers to a question by HTTP from its own machine.
fn ask(machine: &Node, address: &str, path: &str) -> anyhow::Result<String> {
    let address: SocketAddr = address.parse()?;
    let mut stream = machine.enter(|| TcpStream::connect_timeout(&address, SOON))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits until the answer has all of these words.
fn answers(machine: &Node, address: &str, path: &str, words: &[&str]) {
    eventually(SOON, || {
        let answer = ask(machine, address, path)?;
        ensure!(words.iter().all(|word| answer.contains(word)), "{address}{path}: {answer}");
        Ok(())
    })
    .unwrap();
}

/// What Prometheus' own tool finds in the metrics of a process.
fn is_conventional(machine: &Node, address: &str) {
    let answer = ask(machine, address, "/metrics").unwrap();
    prometheus::check_metrics(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
}

/// Pools and the class are objects of kinds that come with the chart or after it.
#[test]
fn the_controller_makes_the_pools_and_the_class_that_the_values_ask_for() {
    let site = Site::bare("initial").unwrap();
    let install = |settings: &[&str], name: &str| {
        let chart = site.cluster.install_chart(NAMESPACE, settings).unwrap();
        site.controller_of(&chart, name)
    };
    let addresses = |name: &str| -> anyhow::Result<Value> {
        let pool = site.cluster.get(["ipaddresspool", name, "--namespace", NAMESPACE])?;
        Ok(pool["spec"]["addresses"].clone())
    };
    let becomes = |name: &str, expected: Value| {
        eventually(SOON, || {
            let found = addresses(name)?;
            ensure!(found == expected, "{name}: {found}");
            Ok(())
        })
        .unwrap();
    };
    // What has an address of the pool to come, of somebody who went, keeps it.
    site.apply(&service("before", ""));
    let status = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "10.77.0.205"}]}}}"#;
    let patch = ["patch", "service", "before", "--subresource=status", "--type=merge", "--patch"];
    site.cluster.kubectl(patch.into_iter().chain([status])).unwrap();
    let both = ["pools.lan={10.77.0.200/29}", "pools.spare.addresses={10.77.0.240/29}"];
    let first = install(&both, "one");
    eventually(SOON, || site.get("vip", "10.77.0.205")).unwrap();
    let before = site.get("service", "before").unwrap();
    assert_eq!(before["status"]["loadBalancer"]["ingress"][0]["ip"], "10.77.0.205", "{before:#}");
    becomes("lan", json!(["10.77.0.200/29"]));
    becomes("spare", json!(["10.77.0.240/29"]));

    // The Gateway API comes later, and with it the class, and whatever needs both.
    site.cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    site.condition("gatewayclass", "vipgate", "Accepted", "True/Accepted");
    site.apply(&gateway("web", &[("tcp", 80)]));
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    // It is ready, and tells how full they are.
    answers(&site.controllers, "10.77.0.3:7474", "/readyz", &["200 OK"]);
    let told = [
        "vipgate_controller_leading 1\n",
        "vipgate_pool_addresses_assigned{pool=\"lan\",family=\"ipv4\"} 2\n",
        "vipgate_pool_addresses_available{pool=\"lan\",family=\"ipv4\"} 6\n",
        "vipgate_problems{kind=\"Gateway\",reason=\"Pending\"}",
    ];
    answers(&site.controllers, "10.77.0.3:7474", "/metrics", &told);
    is_conventional(&site.controllers, "10.77.0.3:7474");

    // What people change is changed back, what they make is theirs.
    let merge = ["patch", "ipaddresspool", "lan", "--namespace", NAMESPACE, "--type=merge"];
    let other = r#"{"spec": {"addresses": ["10.77.0.216/29"]}}"#;
    site.cluster.kubectl(merge.into_iter().chain(["--patch", other])).unwrap();
    becomes("lan", json!(["10.77.0.200/29"]));
    site.apply(&pool("10.77.0.224/29"));
    drop(first);

    // An upgrade with other values: one is larger, one is gone, one is somebody else's.
    let second = install(&["pools.lan={10.77.0.200/28}", "pools.pool={10.77.0.248/29}"], "two");
    becomes("lan", json!(["10.77.0.200/28"]));
    eventually(SOON, || {
        ensure!(addresses("spare").is_err(), "the pool that is not asked for is left");
        Ok(())
    })
    .unwrap();
    second.wait_for_line("there is one that people made", SOON).unwrap();
    assert_eq!(addresses("pool").unwrap(), json!(["10.77.0.224/29"]));
    // Who has an address keeps it.
    assert!(site.get("vip", VIP).is_ok());
}

/// What `helm test` runs, with the rights that it has.
#[test]
fn an_installation_tests_itself() {
    let site = Site::new("selftest");
    let hooks = ["--show-only", "templates/tests/selftest.yaml"];
    let rendered = template_chart(NAMESPACE, &hooks).unwrap();
    let is_pod = |one: &&str| one.contains("\nkind: Pod\n");
    let rights: Vec<&str> = rendered.split("\n---\n").filter(|one| !is_pod(one)).collect();
    assert_eq!(rights.len() + 1, rendered.split("\n---\n").count());
    site.apply(&rights.join("\n---\n"));
    let kubeconfig = site.cluster.kubeconfig_of(NAMESPACE, "vipgate-selftest").unwrap();
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/rights/selftest.txt");
    let expected = std::fs::read_to_string(expected).unwrap();
    eventually(SOON, || {
        let found = of_account(&site, &kubeconfig)?;
        ensure!(found == expected, "the test may now:\n{found}\nselftest.txt has:\n{expected}");
        Ok(())
    })
    .unwrap();
    let test = |class: &str, within: &str| {
        let class = format!("--gateway-class={class}");
        let arguments = ["selftest", "--namespace", NAMESPACE, "--within", within, &class];
        let program = Program::new(env!("CARGO_BIN_EXE_vipgate")).args(arguments);
        site.client.run_within(SOON * 2, program.env("KUBECONFIG", &kubeconfig))
    };
    let why = format!("{:#}", test("vipgate", "1").unwrap_err());
    assert!(why.contains("waited in vain for a controller that leads"), "{why}");

    let controller = site.controller("one");
    controller.wait_for_line("leads", SOON).unwrap();
    let why = format!("{:#}", test("vipgate", "1").unwrap_err());
    assert!(why.contains("no speaker has told of itself"), "{why}");
    let _speaker = site.speaker();
    eventually(SOON, || {
        let why = format!("{:#}", test("vipgate", "1").err().context("it works without a pool")?);
        ensure!(why.contains("there is no IPAddressPool"), "{why}");
        Ok(())
    })
    .unwrap();
    site.apply_pool();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    answers(&site.worker, "127.0.0.1:7473", "/readyz", &["200 OK"]);
    let told = [
        "vipgate_vip_owner{vip=\"10.77.0.200\"} 1\n",
        "vipgate_vip_serving{vip=\"10.77.0.200\"} 1\n",
        "vipgate_duplicate_owner_detected_total{vip=\"10.77.0.200\"} 0\n",
        "listener=\"tcp\",vip=\"10.77.0.200\"} 1\n",
        "vipgate_group_members 1\n",
    ];
    answers(&site.worker, "127.0.0.1:7473", "/metrics", &told);
    is_conventional(&site.worker, "127.0.0.1:7473");
    let said = test("vipgate", "30").unwrap();
    let answered = "Gateway vipgate-selftest has 10.77.0.201, which answers";
    assert!(said.contains("speakers: worker") && said.contains(answered), "{said}");
    assert!(said.ends_with("vipgate works\n"), "{said}");
    let said = test("", "30").unwrap();
    assert!(said.contains("Service vipgate-selftest has 10.77.0.20"), "{said}");
    assert!(!exists(&site, "gateway", "vipgate-selftest"), "it leaves something behind");
    assert!(!exists(&site, "service", "vipgate-selftest"), "it leaves something behind");

    // What is in the way is what it says.
    site.cluster.kubectl(["delete", "ipaddresspool", "pool", "--namespace", NAMESPACE]).unwrap();
    let small = "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: none, \
        namespace: vipgate-system}\nspec: {addresses: [10.77.0.200], autoAssign: false}\n";
    site.apply(small);
    let why = format!("{:#}", test("vipgate", "3").unwrap_err());
    assert!(why.contains("waited in vain for an address of Gateway vipgate-selftest"), "{why}");
    assert!(!exists(&site, "gateway", "vipgate-selftest"), "it leaves something behind");
}
