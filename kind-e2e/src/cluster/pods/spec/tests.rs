use serde_json::json;

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {"name": "echo-7-x", "namespace": "games", "uid": "1",
            "labels": {"app.example/name": "echo"}},
        "spec": {"nodeName": "worker1", "containers": [{
            "name": "echo",
            "image": "registry.example/echo:v1",
            "command": ["/bin/echo", "-cert", "/etc/tls/crt"],
            "args": ["-name", "$(POD)/$(NONE)/$$(POD)", "/etc/tlsother"],
            "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 3000}],
            "env": [
                {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "APP", "valueFrom": {"fieldRef":
                    {"fieldPath": "metadata.labels['app.example/name']"}}},
                {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
                {"name": "KEY", "value": "/etc/tls/key"},
                {"name": "BOTH", "value": "$(APP) on $(POD)"},
            ],
            "volumeMounts": [{"name": "tls", "mountPath": "/etc/tls"}],
        }]},
    })
}

fn program(pod: &Value) -> Result<String> {
    let addresses = ["10.244.1.2".parse()?, "fd00::2".parse()?];
    let volumes = BTreeMap::from([("tls".to_owned(), PathBuf::from("/place"))]);
    let host = "10.77.0.2".parse()?;
    let around = Surroundings { pod, addresses: &addresses, host, volumes: &volumes };
    let containers = containers(pod)?;
    Ok(format!("{:?}", containers[0].program("/bin/true", &around)?))
}

#[test]
fn a_program_gets_what_the_pod_says() -> Result<()> {
    let program = program(&pod())?;
    let arguments =
        r#"["-cert", "/place/crt", "-name", "echo-7-x/$(NONE)/$(POD)", "/etc/tlsother"]"#;
    assert!(program.contains(arguments), "{program}");
    for variable in [
        r#"("POD", "echo-7-x")"#,
        r#"("APP", "echo")"#,
        r#"("IPS", "10.244.1.2,fd00::2")"#,
        r#"("KEY", "/place/key")"#,
        r#"("BOTH", "echo on echo-7-x")"#,
    ] {
        assert!(program.contains(variable), "{program}");
    }
    Ok(())
}

#[test]
fn ports_have_their_protocol() -> Result<()> {
    let pod = pod();
    let ports = containers(&pod)?[0].ports();
    assert_eq!(ports, BTreeSet::from([(Protocol::Tcp, 3000), (Protocol::Udp, 53)]));
    Ok(())
}

#[test]
fn what_the_lab_cannot_do_is_named() -> Result<()> {
    let mut unknown = pod();
    unknown["spec"]["containers"][0]["env"][0]["valueFrom"] =
        json!({"secretKeyRef": {"name": "x"}});
    let error = format!("{:#}", program(&unknown).unwrap_err());
    assert!(error.contains("variable POD") && error.contains("secretKeyRef"), "{error}");
    let mut unmounted = pod();
    unmounted["spec"]["containers"][0]["volumeMounts"][0]["name"] = json!("other");
    let error = format!("{:#}", program(&unmounted).unwrap_err());
    assert!(error.contains("no volume other"), "{error}");
    let mut init = pod();
    init["spec"]["initContainers"] = json!([{"name": "first", "image": "x"}]);
    assert!(containers(&init).is_err());
    Ok(())
}
