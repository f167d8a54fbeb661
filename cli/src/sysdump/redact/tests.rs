use serde_json::json;

use super::*;

fn text(input: &str) -> String {
    Redactor::default().text(input)
}

#[test]
fn values_of_names_like_those_of_secrets_go_and_references_stay() {
    for (input, output) in [
        ("password=hunter22 user=x", "password=<removed> user=x"),
        ("{\"bgp_password\":\"hunter22\",\"a\":1}", "{\"bgp_password\":\"<removed>\",\"a\":1}"),
        (r#"say \"token\": \"abc def\" now"#, r#"say \"token\": \"<removed>\" now"#),
        ("Authorization: Bearer abc.def", "Authorization: <removed>"),
        ("--api-token abc --port 7", "--api-token <removed> --port 7"),
        ("--api-token=abc,x", "--api-token=<removed>,x"),
        ("passwordSecret: {name: bgp}", "passwordSecret: {name: bgp}"),
        ("secretName: web-tls", "secretName: web-tls"),
        ("no such Secret default/web-tls", "no such Secret default/web-tls"),
        ("http://me:hunter22@example.com/a and b@c", "http://<removed>@example.com/a and b@c"),
        ("at 10:00 port: 80", "at 10:00 port: 80"),
        ("password:", "password:"),
    ] {
        assert_eq!(text(input), output);
        assert_eq!(text(output), output, "once more changes nothing");
    }
    let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(20), "b".repeat(20), "c".repeat(20));
    assert_eq!(text(&format!("got {jwt}!")), "got <removed>!");
}

#[test]
fn private_keys_go_and_certificates_stay() {
    let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    assert_eq!(text(&format!("a {key} b {certificate}")), format!("a <removed> b {certificate}"));
    assert_eq!(text(&key.replace('\n', "\\n")), MARK);
    assert_eq!(text(&key[..40]), MARK, "without an end");
}

#[test]
fn objects_lose_what_is_secret_and_what_is_noise() {
    let mut redactor = Redactor::default();
    let mut secret = json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s",
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":\"hunter22\"}",
                "example.com/api-token": "abcdef", "example.com/note": "fine"}},
        "data": {"keys": BASE64_STANDARD.encode("hunter22"), "tls.crt": BASE64_STANDARD.encode("certificate")}});
    redactor.json(&mut secret);
    assert_eq!(
        secret,
        json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s",
            "annotations": {"example.com/api-token": MARK, "example.com/note": "fine"}},
            "data": {"keys": MARK, "tls.crt": MARK}})
    );
    // What it was is known from now on, wherever it stands.
    assert_eq!(redactor.text("the log says hunter22"), "the log says <removed>");
    assert_eq!(redactor.text(&BASE64_STANDARD.encode("hunter22")), MARK);
    assert_eq!(redactor.text("certificate"), "certificate");

    let mut pod = json!({"spec": {"automountServiceAccountToken": true, "containers": [{
        "env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "MODE", "value": "y"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "t"}}}],
        "args": ["--token=abc", "--listen=:80"]}],
        "volumes": [{"secret": {"secretName": "s"}}], "tokens": ["a", "b"]}});
    redactor.json(&mut pod);
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["env"][0]["value"], MARK);
    assert_eq!(container["env"][1]["value"], "y");
    assert_eq!(container["env"][2]["valueFrom"]["secretKeyRef"]["name"], "s");
    assert_eq!(container["args"], json!(["--token=<removed>", "--listen=:80"]));
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "s");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], true);
    assert_eq!(pod["spec"]["tokens"], json!([MARK, MARK]));
}

#[test]
fn a_password_of_a_bgp_peer_goes_and_where_it_is_kept_stays() {
    let mut peer = json!({"kind": "BGPPeer", "spec": {"peerAddress": "192.0.2.1", "password": "x",
        "passwordSecret": {"name": "bgp", "namespace": "vipgate-system"}}});
    Redactor::default().json(&mut peer);
    assert_eq!(peer["spec"]["password"], MARK);
    assert_eq!(peer["spec"]["passwordSecret"]["name"], "bgp");
}

#[test]
fn a_text_without_secrets_is_as_it_was() {
    let log = "2026-01-01T00:00:00Z INFO vipgate: VIP 192.0.2.240 announced on eth0; päng \
     ✓\n\"a\": {\"b\": [1]}";
    assert_eq!(text(log), log);
    assert_eq!(text(""), "");
}

#[test]
fn values_go_to_their_end() {
    for (input, output) in [
        // Quoted, with quotes inside, at each depth of quoting.
        (r#"{"password":"ab\"cdSECRET","a":1}"#, r#"{"password":"<removed>","a":1}"#),
        (r#"{"password":"ab\\","a":"b"}"#, r#"{"password":"<removed>","a":"b"}"#),
        (r#"{\"password\":\"ab\\\"cdSECRET\",\"a\":1}"#, r#"{\"password\":\"<removed>\",\"a\":1}"#),
        ("password: 'it''s SECRET' # x", "password: '<removed>' # x"),
        ("password: \"\"\nuser: \"x\"", "password: \"\"\nuser: \"x\""),
        ("password: \"abc\n  SECRET\"\nuser: x", "password: \"<removed>\"\nuser: x"),
        (
            "peer { password: Some(\"a SECRET\"), port: 1 }",
            "peer { password: Some(\"<removed>\"), port: 1 }",
        ),
        // YAML.
        ("password: correct horse battery\nuser: x", "password: <removed>\nuser: x"),
        ("  - password: correct horse\n    user: x", "  - password: <removed>\n    user: x"),
        ("example.com/api-token: a b", "example.com/api-token: <removed>"),
        ("\"token\": a b", "\"token\": <removed>"),
        ("# token: a b", "# token: <removed>"),
        ("token = a b", "token = <removed>"),
        ("{password: correct horse, user: x}", "{password: <removed>, user: x}"),
        ("token: |\n  hunter2\n\n  SECRET\nuser: x", "token: <removed>\nuser: x"),
        ("a:\n- token: >-\n    hunter2\n  user: x", "a:\n- token: <removed>\n  user: x"),
        ("token: |+\n\thunter2\n", "token: <removed>\n"),
        ("token:\n  hunter2\nuser: x", "token:<removed>\nuser: x"),
        ("tokens:\n- a b\n- c\nuser: x", "tokens:<removed>\nuser: x"),
        ("tokens: [a, b]", "tokens: <removed>"),
        ("secret:\n  secretName: web", "secret:\n  secretName: web"),
        ("{\"m\":\"token: |\\n  hunter2\\nuser: x\"}", "{\"m\":\"token: <removed>\\nuser: x\"}"),
        (
            "{\"m\":\"a: b\\ntoken: |\\n  hunter2\\nuser: x\"}",
            "{\"m\":\"a: b\\ntoken: <removed>\\nuser: x\"}",
        ),
        ("{\"m\":\"password: a b\",\"n\":1}", "{\"m\":\"password: <removed>\",\"n\":1}"),
        // Arguments and environments.
        (r#"["--token","s3cr3tvalue"]"#, r#"["--token","<removed>"]"#),
        (r#"[\"--token\", \"s3cr3tvalue\"]"#, r#"[\"--token\", \"<removed>\"]"#),
        ("args:\n- --token\n- a b\n- --port", "args:\n- --token\n- <removed>\n- --port"),
        ("--use-token --port 7", "--use-token --port 7"),
        ("-token abc", "-token <removed>"),
        (
            "- name: X_TOKEN\n  value: a b\n- name: Y",
            "- name: X_TOKEN\n  value: <removed>\n- name: Y",
        ),
        (r#"{"name":"X_TOKEN","value":"a b"}"#, r#"{"name":"X_TOKEN","value":"<removed>"}"#),
        // A kubeconfig, and other names.
        ("    client-key-data: LS0t", "    client-key-data: <removed>"),
        ("    certificate-authority-data: LS0t", "    certificate-authority-data: LS0t"),
        ("id-token: a", "id-token: <removed>"),
        ("refresh-token: a", "refresh-token: <removed>"),
        ("x passwd=a b", "x passwd=<removed> b"),
        ("x DB_PASS=a bypass=1", "x DB_PASS=<removed> bypass=1"),
        ("x passphrase=a credential=b", "x passphrase=<removed> credential=<removed>"),
        (
            "x apikey=a api-key=b privateKey=c",
            "x apikey=<removed> api-key=<removed> privateKey=<removed>",
        ),
        ("x authorization: Bearer abc, d", "x authorization: <removed>, d"),
        ("net.ipv4.tcp_syncookies: 1", "net.ipv4.tcp_syncookies: 1"),
        ("postgres://user:password@db/x", "postgres://<removed>@db/x"),
    ] {
        assert_eq!(text(input), output, "{input}");
        assert_eq!(text(output), output, "once more changes nothing");
    }
}

#[test]
fn json_in_a_text_and_arguments_are_read_as_what_they_are() {
    let key = "-----BEGIN PRIVATE KEY-----\nMHcCAQ\n-----END PRIVATE KEY-----\n";
    for (mut input, output) in [
        (json!("[\"--token\",\"s3cr3tvalue\"]"), json!("[\"--token\",\"<removed>\"]")),
        (json!("{\"password\":\"ab\\\"cdSECRET\"}"), json!("{\"password\":\"<removed>\"}")),
        (json!("{ \"a\": [1] }"), json!("{ \"a\": [1] }")),
        (json!({"x": json!({"k": key}).to_string()}), json!({"x": "{\"k\":\"<removed>\\n\"}"})),
        (json!({"args": ["--token", "a b", "c"]}), json!({"args": ["--token", MARK, "c"]})),
        (json!(["--use-token", "--port", "7"]), json!(["--use-token", "--port", "7"])),
        (json!(["--token", "-abc"]), json!(["--token", MARK])),
        (
            json!(["--token-file", "/x", "--token=a b"]),
            json!(["--token-file", "/x", "--token=<removed>"]),
        ),
        (json!({"command": ["x", "-password", "a"]}), json!({"command": ["x", "-password", MARK]})),
        (json!(["DB_PASSWORD=a b"]), json!(["DB_PASSWORD=<removed>"])),
        (
            json!({"env": [{"name": "X_TOKEN", "value": "a b"}]}),
            json!({"env": [{"name": "X_TOKEN", "value": MARK}]}),
        ),
        (json!({"password": 12345678}), json!({"password": MARK})),
        (json!({"passwords": {"admin": "abc"}}), json!({"passwords": {"admin": MARK}})),
        (
            json!({"data": {"c.yaml": "password: correct horse battery\ntoken: |\n  hunter2hunter2\n"}}),
            json!({"data": {"c.yaml": "password: <removed>\ntoken: <removed>\n"}}),
        ),
    ] {
        Redactor::default().json(&mut input);
        assert_eq!(input, output);
    }
}
