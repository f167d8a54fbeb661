//! What is done in which order, for every suite, family and mode of kube-proxy.

use super::run::Machine;

const MADE: [&str; 22] = [
    "docker network create",
    "docker network inspect",
    "docker network rm",
    "docker network create",
    "kind create cluster",
    "kind load image-archive",
    "kubectl apply",
    "helm install",
    "kubectl wait",
    "docker create router",
    "docker cp router:/etc/frr/",
    "docker start router",
    "docker create client",
    "docker start client",
    "docker container inspect",
    "docker exec client ip",
    "docker exec client tcpdump",
    // For the conformance suite only.
    "go test",
    "kind get kubeconfig",
    "docker exec client mkdir",
    "docker cp client:/e2e/",
    // For the addresses of the router.
    "docker container inspect",
];
const REMOVED: [&str; 7] = [
    "docker unpause control-plane",
    "docker unpause worker",
    "docker unpause worker2",
    "docker rm",
    "kind delete cluster",
    "docker network rm",
    "docker network inspect",
];

/// What is expected of a run that passes.
fn expected(suite: &str, family: &str) -> Vec<String> {
    let with_conformance = matches!(suite, "conformance" | "all");
    let mut all = Vec::new();
    for (at, call) in MADE.iter().enumerate() {
        if (17..21).contains(&at) && !with_conformance {
            continue;
        }
        all.push((*call).to_owned());
        // A way to the router in each family.
        if *call == "docker exec client ip" && family == "dual" {
            all.push((*call).to_owned());
        }
    }
    all.push(format!("scenarios {suite}"));
    all.extend(REMOVED.map(str::to_owned));
    all
}

#[test]
fn every_suite_does_the_same_around_its_scenarios() {
    for suite in ["smoke", "l2", "bgp", "gateway", "upgrade", "chaos", "conformance", "all"] {
        let machine = Machine::new();
        let done = machine.run(&[suite]);
        assert_eq!(done.status, Some(0), "{suite}: {}", done.said);
        assert_eq!(done.done(), expected(suite, "v4"), "{suite}");
        assert_eq!(machine.left(), Vec::<String>::new(), "{suite}");
        assert!(machine.result("report.md").starts_with("# scenarios"), "{suite}");
    }
}

#[test]
fn families_and_modes_come_to_network_cluster_chart_and_scenarios() {
    for (family, ip_family, routers) in [
        ("v4", "ipv4", "VIPGATE_E2E_ROUTERS=172.19.0.5"),
        ("v6", "ipv6", "VIPGATE_E2E_ROUTERS=fd77:e2e:0:1::5"),
        ("dual", "dual", "VIPGATE_E2E_ROUTERS=172.19.0.5 fd77:e2e:0:1::5"),
    ] {
        for proxy in ["iptables", "nftables", "ipvs"] {
            let machine = Machine::new();
            let done = machine.run(&["--family", family, "smoke", "--proxy", proxy]);
            let about = format!("{family}, {proxy}: {}", done.said);
            assert_eq!(done.status, Some(0), "{about}");
            // A client without routes of its own would reach nothing: every container has both families here.
            let calls = done.done();
            let ways = calls.iter().filter(|call| *call == "docker exec client ip").count();
            assert_eq!(ways, if family == "v4" { 1 } else { 2 }, "{about}");
            let asked = if family == "v4" { "v4" } else { "dual" };
            assert_eq!(calls, expected("smoke", asked), "{about}");

            let mut network =
                done.calls.iter().filter(|call| call.starts_with("docker network create "));
            let made = network.next_back().unwrap();
            assert!(made.contains(" --subnet 172.19.0.0/16 --ip-range 172.19.0.0/17 "), "{made}");
            assert_eq!(made.contains("--ipv6"), family != "v4", "{made}");
            let cluster = machine.result("cluster.yaml");
            let networking =
                format!("networking: {{ipFamily: {ip_family}, kubeProxyMode: {proxy}}}");
            assert!(cluster.contains(&networking), "{cluster}");
            assert_eq!(cluster.matches("- role: ").count(), 3, "{cluster}");
            assert_eq!(cluster.matches("{vipgate.dev/e2e: edge}").count(), 2, "{cluster}");
            assert_eq!(cluster.contains("strictARP: true"), proxy == "ipvs", "{cluster}");
            // VIPs are of the half that docker gives nobody.
            let values = machine.result("values.yaml");
            assert_eq!(
                values.contains("\"172.19.128.8-172.19.128.71\""),
                family != "v6",
                "{values}"
            );
            assert_eq!(values.contains("\"fd77:e2e:0:1:ffff::100-"), family != "v4", "{values}");
            let told = std::fs::read_to_string(machine.at("environment")).unwrap();
            let line = told.lines().find(|line| line.starts_with("VIPGATE_E2E_ROUTERS=")).unwrap();
            assert_eq!(line.trim_end(), routers, "{about}");
            assert!(told.contains(&format!("VIPGATE_E2E_FAMILY={family}\n")), "{told}");
        }
    }
}

#[test]
fn a_small_network_is_divided_and_a_tiny_one_refused() {
    let machine = Machine::new().with("FAKE_SUBNET", "10.89.3.64/26");
    let done = machine.run(&["smoke"]);
    assert_eq!(done.status, Some(0), "{}", done.said);
    assert_eq!(machine.result("vips4"), "10.89.3.104-10.89.3.119\n");
    assert!(done.calls.iter().any(|call| call.contains("--ip-range 10.89.3.64/27 ")));

    let machine = Machine::new().with("FAKE_SUBNET", "10.89.3.64/27");
    let done = machine.run(&["smoke"]);
    assert_eq!(done.status, Some(1));
    assert!(done.said.contains("10.89.3.64/27 is too small"), "{}", done.said);
    assert!(machine.left().is_empty());
}

#[test]
fn arguments_that_are_not_understood_change_nothing() {
    for arguments in [
        &["smok"][..],
        &["smoke", "l2"],
        &["--family", "v5"],
        &["--proxy", "ebpf"],
        &["--family"],
        &["--what"],
    ] {
        let machine = Machine::new();
        let output = machine.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(machine.left().is_empty());
    }
}
