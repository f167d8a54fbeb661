//! What comes out for values that people have. `BLESS=1` writes `charts/tests/golden`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{render_chart, template_chart};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tests");

fn lines(settings: &[&str]) -> Result<Vec<String>> {
    let rendered = render_chart("vipgate-system", settings)?;
    Ok(rendered.lines().map(|line| line.trim().to_owned()).collect())
}

#[test]
fn these_values_give_these_objects() -> Result<()> {
    let operator = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
    let operator = operator.map(|kind| format!("monitoring.coreos.com/v1/{kind}"));
    for name in ["defaults", "homelab", "everything"] {
        let values = format!("{TESTS}/values/{name}.yaml");
        let served = operator.iter().flat_map(|kind| ["--api-versions", kind]);
        let arguments: Vec<&str> = ["--values", &values].into_iter().chain(served).collect();
        let rendered = template_chart("vipgate-system", &arguments)?;
        let golden = Path::new(TESTS).join("golden").join(format!("{name}.yaml"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &rendered)?;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        ensure!(
            rendered == expected,
            "{} is not what comes out now (BLESS=1 writes it):\n{rendered}",
            golden.display()
        );
    }
    Ok(())
}

#[test]
fn everything_is_where_it_is_installed() -> Result<()> {
    let rendered = render_chart("networking", &["image.repository=registry.example/vipgate"])?;
    let namespaces = rendered.lines().filter_map(|line| line.trim().strip_prefix("namespace: "));
    assert!(namespaces.clone().count() > 4);
    assert!(
        namespaces.clone().all(|one| one == "networking"),
        "{:?}",
        namespaces.collect::<Vec<_>>()
    );
    assert!(!rendered.contains("namespace: vipgate-system"), "a namespace is written down");
    let images = rendered.matches("image: registry.example/vipgate:").count();
    assert_eq!(images, 2, "{rendered}");
    Ok(())
}

#[test]
fn crds_are_upgraded_with_the_release_and_kept_when_it_goes() -> Result<()> {
    let rendered = render_chart("vipgate-system", &[])?;
    let is_crd = |one: &&str| one.contains("\nkind: CustomResourceDefinition\n");
    let crds: Vec<&str> = rendered.split("\n---\n").filter(is_crd).collect();
    let kinds = ["IPAddressPool", "Backend", "VirtualIP", "Speaker", "L2Advertisement"];
    let others = [
        "BGPAdvertisement",
        "BGPPeer",
        "BFDProfile",
        "Community",
        "ListenerPolicy",
        "BackendPolicy",
    ];
    for kind in kinds.into_iter().chain(others) {
        let named = |one: &&&str| one.contains(&format!("    kind: {kind}\n"));
        let crd = crds.iter().find(named).with_context(|| format!("no CRD of {kind}"))?;
        assert!(crd.contains("helm.sh/resource-policy: keep"), "{kind} goes with the release");
    }
    assert_eq!(crds.len(), 11);
    assert!(
        !lines(&["crds.enabled=false"])?.contains(&"kind: CustomResourceDefinition".to_owned())
    );
    Ok(())
}

#[test]
fn there_is_a_speaker_on_every_node_but_for_those_that_are_left_out() -> Result<()> {
    assert!(lines(&[])?.contains(&"kind: DaemonSet".to_owned()));
    let limited = lines(&["speaker.nodeSelector.role=edge"])?;
    assert!(limited.contains(&"role: edge".to_owned()), "{limited:#?}");
    let untolerant = lines(&["speaker.tolerations=null"])?;
    assert!(!untolerant.contains(&"tolerations:".to_owned()), "{untolerant:#?}");
    Ok(())
}

#[test]
fn addresses_are_asked_for_as_often_as_it_is_said() -> Result<()> {
    let value = |settings: &[&str]| -> Result<String> {
        let all = lines(settings)?;
        let place = all.iter().position(|line| line == "- name: VIPGATE_PROBE");
        Ok(all[place.context("no VIPGATE_PROBE")? + 1].clone())
    };
    assert_eq!(value(&[])?, "value: \"10\"");
    assert_eq!(value(&["speaker.probeSeconds=3600"])?, "value: \"3600\"");
    assert_eq!(value(&["speaker.probeSeconds=0"])?, "value: \"off\"");
    Ok(())
}

/// The pods of the chart, its test's included, by the name of what has them: as they are, and as they are
/// where Prometheus asks.
fn pods() -> Result<Vec<(String, Value)>> {
    let monitor = "monitoring.coreos.com/v1/PodMonitor";
    let monitored = ["--set", "monitoring.enabled=true", "--api-versions", monitor];
    let mut pods = Vec::new();
    for more in [&[][..], &monitored] {
        let none = ["--set", "crds.enabled=false"];
        let arguments: Vec<&str> = none.iter().chain(more).copied().collect();
        let rendered = template_chart("vipgate-system", &arguments)?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered)?;
        for object in objects {
            let pod = match object["kind"].as_str() {
                Some("Deployment" | "DaemonSet") => &object["spec"]["template"]["spec"],
                Some("Pod") => &object["spec"],
                _ => continue,
            };
            let name = object["metadata"]["name"].as_str().context("a name")?;
            pods.push((name.to_owned(), pod.clone()));
        }
    }
    Ok(pods)
}

/// Least privilege.
#[test]
fn no_pod_has_more_of_its_node_than_a_network() -> Result<()> {
    let pods = pods()?;
    let names: Vec<&str> = pods.iter().map(|(name, _)| name.as_str()).collect();
    let each = ["vipgate-speaker", "vipgate-controller", "vipgate-selftest"];
    assert!(each.iter().all(|name| names.iter().filter(|one| *one == name).count() == 2));
    assert_eq!(names.len(), 6, "{names:?}");
    for (name, pod) in &pods {
        for word in ["hostPID", "hostIPC", "initContainers", "ephemeralContainers"] {
            assert_eq!(pod[word], Value::Null, "{name}: {word}");
        }
        let seccomp = &pod["securityContext"]["seccompProfile"];
        assert_eq!(seccomp, &json!({"type": "RuntimeDefault"}), "{name}");
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert_eq!(volume["hostPath"], Value::Null, "{name}: {volume}");
        }
        let containers = pod["containers"].as_array().context("containers")?;
        assert_eq!(containers.len(), 1, "{name}");
        for container in containers {
            assert_eq!(container["ports"], Value::Null, "{name}: of the node, on its network");
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["privileged"], Value::Null, "{name}");
            assert_eq!(security["seccompProfile"], Value::Null, "{name}: the pod's");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{name}");
            let is_speaker = name == "vipgate-speaker";
            let capabilities = json!(["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"]);
            let added = if is_speaker { capabilities } else { Value::Null };
            assert_eq!(security["capabilities"]["add"], added, "{name}");
            let network = if is_speaker { json!(true) } else { Value::Null };
            assert_eq!(pod["hostNetwork"], network, "{name}");
        }
    }
    Ok(())
}

/// The class, like pools, is the controller's to make: Helm cannot have objects of kinds that it is only
/// now bringing.
#[test]
fn class_and_pools_are_handed_to_the_controller() -> Result<()> {
    for settings in [&[][..], &["gatewayClass.name=mine", "pools.default={192.0.2.1}"][..]] {
        let all = lines(settings)?;
        assert!(!all.contains(&"kind: GatewayClass".to_owned()));
        assert_eq!(
            all.iter().filter(|line| **line == "kind: IPAddressPool").count(),
            1,
            "the CRD's"
        );
    }
    let mine = lines(&["gatewayClass.name=mine", "pools.default={192.0.2.1}"])?;
    assert!(mine.contains(&"- --gateway-class=mine".to_owned()));
    let pools = r#"value: "{\"default\":{\"addresses\":[\"192.0.2.1\"]}}""#;
    assert!(mine.contains(&pools.to_owned()), "{mine:#?}");
    let none = lines(&["gatewayClass.name="])?;
    assert!(!none.iter().any(|line| line.starts_with("- --gateway-class")));
    assert!(none.contains(&"verbs: [patch]".to_owned()), "the right goes with the class");
    Ok(())
}

/// Also if somebody asks for it: a kind that is not served would fail the whole installation.
#[test]
fn monitors_and_rules_are_there_only_where_their_kinds_are() -> Result<()> {
    let kinds = |arguments: &[&str]| -> Result<Vec<String>> {
        let on = ["--set", "monitoring.enabled=true", "--show-only"];
        let found = ["monitors", "alerts"].into_iter().filter_map(|file| {
            let file = format!("templates/{file}.yaml");
            let all: Vec<&str> =
                on.into_iter().chain([&*file]).chain(arguments.iter().copied()).collect();
            // Nothing to show is an error of Helm's.
            template_chart("vipgate-system", &all).ok()
        });
        let found: Vec<String> = found.collect();
        let kinds = found.iter().flat_map(|text| text.lines());
        Ok(kinds.filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned).collect())
    };
    assert_eq!(kinds(&[])?, [""; 0]);
    let monitors = ["--api-versions", "monitoring.coreos.com/v1/PodMonitor"];
    assert_eq!(kinds(&monitors)?, ["PodMonitor", "PodMonitor"]);
    let rules = ["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"];
    assert_eq!(kinds(&rules)?, ["PrometheusRule"]);
    // And without them nothing listens beyond loopback.
    let address = "value: $(VIPGATE_GROUP_ADDRESS) 7473";
    let speaker = template_chart("x", &["--set", "monitoring.enabled=true"])?;
    assert!(!speaker.contains(address) && speaker.contains("value: \"127.0.0.1:7473\""));
    let on = ["--set", "monitoring.enabled=true", monitors[0], monitors[1]];
    assert!(template_chart("x", &on)?.contains(address));
    Ok(())
}
