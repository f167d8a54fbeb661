//! `vipgate check` and `vipgate sysdump` on a host that is not as it should be, and then is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use vipgate_lab::{ArpOp, Program};

use crate::site::{SOON, Site, VIP, VIPGATE};

/// What `vipgate check -o json` says on the node, and whether it found errors.
fn check(site: &Site, arguments: &str) -> (Value, bool) {
    let command = format!("{VIPGATE} check -o json {arguments}; echo \"exit $?\"");
    let text = site.node.run_within(SOON, Program::new("sh").args(["-c", &command])).unwrap();
    let (json, code) = text.rsplit_once("exit ").unwrap();
    (serde_json::from_str(json).unwrap(), code.trim() == "1")
}

/// Verdict and text of the first finding of a check.
fn finding<'a>(report: &'a Value, check: &str) -> (&'a str, &'a str) {
    let findings = report["findings"].as_array().unwrap();
    let one = findings.iter().find(|finding| finding["check"] == check);
    let one = one.unwrap_or_else(|| panic!("no {check} in {report:#}"));
    (one["verdict"].as_str().unwrap(), one["found"].as_str().unwrap())
}

#[test]
fn a_host_that_is_not_as_it_should_be_says_so_and_a_mended_one_does_not() {
    let site = Site::new("check");
    let other = site.lab.bridge("other").unwrap();
    let second = site.node.join(&other, "10.88.0.1/24").unwrap();
    site.node.sysctl("net.ipv4.conf.all.rp_filter", "0").unwrap();
    site.node.sysctl(&format!("net.ipv4.conf.{}.rp_filter", second.name()), "0").unwrap();
    site.node.sysctl("net.ipv4.conf.eth0.rp_filter", "1").unwrap();
    site.node.run("ip", ["link", "set", second.name(), "mtu", "1400"]).unwrap();
    site.server_address(VIP.parse().unwrap());
    let _taken = site.node.enter(|| std::net::UdpSocket::bind("0.0.0.0:7947")).unwrap();
    site.write_web(&["10.77.0.21:80"]);
    let socket = site.manifests.with_file_name("none.sock");
    let about = format!("--admin {} --manifests {}", socket.display(), site.manifests.display());
    let ask = |more: &str| check(&site, &format!("{about} {more}"));

    // Without being asked to, it sends nothing.
    let wire = site.client.capture("eth0", "arp").unwrap();
    let (report, errors) = ask("");
    assert!(errors, "{report:#}");
    let (verdict, why) = finding(&report, "address-conflicts");
    assert_eq!(verdict, "notLookedAt");
    assert!(why.contains("--probe"), "{why}");
    let asked = |frames: &[vipgate_lab::Frame]| -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        let arps = frames.iter().filter_map(|frame| frame.arp());
        for arp in arps.filter(|arp| arp.op == ArpOp::Request && arp.sender_ip.is_unspecified()) {
            *asked.entry(arp.target_ip.to_string()).or_default() += 1;
        }
        asked
    };
    assert_eq!(asked(&wire.stop().unwrap()), BTreeMap::new());

    assert_eq!(finding(&report, "running").0, "notLookedAt");
    assert_eq!(finding(&report, "capabilities").0, "ok");
    assert_eq!(finding(&report, "kernel-nftables").0, "ok");
    assert_eq!(finding(&report, "kernel-packets").0, "ok");
    let carried = "eth0 carries 10.77.0.200-10.77.0.202 (pool lan)";
    assert_eq!(finding(&report, "interfaces"), ("ok", carried));
    assert_eq!(
        finding(&report, "rp-filter"),
        ("warning", "strict (1) on eth0, and there are several ways back")
    );
    let (verdict, mtu) = finding(&report, "mtu");
    assert_eq!(verdict, "warning");
    assert!(mtu.contains("eth0 1500") && mtu.contains("1400"), "{mtu}");
    let (verdict, ports) = finding(&report, "ports");
    assert_eq!(verdict, "error");
    assert!(ports.starts_with("7947/UDP, of the group: scenarios"), "{ports}");

    // With it, each address is asked for three times, by nobody.
    let wire = site.client.capture("eth0", "arp").unwrap();
    let (report, errors) = ask("--probe");
    assert!(errors);
    let (verdict, conflict) = finding(&report, "address-conflicts");
    assert_eq!(verdict, "error");
    let who = format!("{VIP} is answered for by {} on eth0", site.on_servers.mac());
    assert!(conflict.starts_with(&who), "{conflict}");
    let asked = asked(&wire.stop().unwrap());
    assert_eq!(asked.get("10.77.0.201"), Some(&3), "{asked:?}");
    assert_eq!(asked.get("10.77.0.202"), Some(&3), "{asked:?}");
    assert!(asked.keys().all(|ip| ip.starts_with("10.77.0.20")), "{asked:?}");

    // An address of the host itself is no VIP.
    let (report, _) = ask("--addresses 10.77.0.1-10.77.0.3");
    let (verdict, own) = finding(&report, "pool-addresses");
    assert_eq!(
        (verdict, own),
        ("error", "10.77.0.1 is an address of eth0, and in pool of --addresses")
    );

    // Mended, as it says.
    drop(_taken);
    site.node.sysctl("net.ipv4.conf.eth0.rp_filter", "2").unwrap();
    site.node.run("ip", ["link", "set", second.name(), "mtu", "1500"]).unwrap();
    site.servers.run("ip", ["addr", "del", &format!("{VIP}/24"), "dev", "eth0"]).unwrap();
    let (report, _) = ask("--probe");
    for name in ["rp-filter", "mtu", "ports", "address-conflicts", "pool-addresses"] {
        let (verdict, found) = finding(&report, name);
        assert_eq!(verdict, "ok", "{name}: {found}");
    }
    assert_eq!(finding(&report, "address-conflicts").1, "nobody answers for 3 addresses");

    // As text, and of the vipgate that runs, whose VIP is not asked for.
    let _server = site.echo("10.77.0.21:80");
    let vipgate = site.start();
    site.healthy(&vipgate);
    let (report, _) = check(&site, &format!("--probe --admin {}", vipgate.admin.display()));
    assert_eq!(finding(&report, "running").0, "ok");
    let (verdict, found) = finding(&report, "address-conflicts");
    assert_eq!(verdict, "ok", "{found}");
    assert!(found.starts_with("nobody answers for 2 addresses; 1 are in use"), "{found}");
}

/// All parts of an archive, by their path below its directory.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let file = fs::File::open(archive).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut parts = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        parts.insert(path.split_once('/').unwrap().1.to_owned(), text);
    }
    parts
}

#[test]
fn a_dump_of_a_host_has_what_helps_and_no_secret() {
    const TOKEN: &str = "planted-token-4711";
    const DATA: &str = "planted-data-4712";
    let site = Site::new("sysdump");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    let group = site.node.run(VIPGATE, ["keygen"]).unwrap();
    let key_file = site.manifests.with_file_name("group.key");
    fs::write(&key_file, &group).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let indented = pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    site.write(
        "secret.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: web\n  namespace: default\n  annotations:\n    \
             example.com/api-token: {TOKEN}\n    \
             kubectl.kubernetes.io/last-applied-configuration: 'x {DATA}'\n    \
             example.com/note: 'it was {DATA}'\n\
             stringData:\n  note: {DATA}\n  tls.key: |\n{indented}"
        ),
    );
    let key_argument = key_file.display().to_string();
    let vipgate = site.start_with(
        &site.manifests,
        &["--group-key", &key_argument, "--group-address", "10.77.0.1"],
    );
    site.healthy(&vipgate);

    let archive = site.manifests.with_file_name("dump.tar.gz");
    let dump = || {
        Program::new(VIPGATE)
            .args(["sysdump", "--admin"])
            .arg(&vipgate.admin)
            .arg("--manifests")
            .arg(&site.manifests)
            .arg("--output")
            .arg(&archive)
    };
    site.node.run_within(SOON * 3, dump()).unwrap();
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(site.node.run_within(SOON, dump()).is_err(), "one that is there is not replaced");

    let parts = unpacked(&archive);
    let whole: String = parts.iter().map(|(path, text)| format!("{path}\n{text}")).collect();
    let secret_line = pem.lines().nth(1).unwrap();
    for planted in [TOKEN, DATA, secret_line, group.trim(), "PRIVATE KEY"] {
        assert!(!whole.contains(planted), "{planted} is in the archive");
    }
    let json = |part: &str| -> Value { serde_json::from_str(&parts[part]).unwrap() };
    assert_eq!(json("vipgate/status.json")["vips"][0]["address"], VIP);
    assert_eq!(json(&format!("vipgate/why-{VIP}.json"))["ownership"][0]["owner"], "node");
    assert!(parts["vipgate/metrics.txt"].contains("vipgate_"), "{}", parts["vipgate/metrics.txt"]);
    assert_eq!(json("check.json")["schema"], "vipgate.dev/check/v1");
    assert!(parts["host/ip-address.json"].contains(VIP));
    assert!(parts["host/nft-arp.txt"].contains(VIP));
    assert_eq!(json("host/sysctls.json")["net.ipv4.conf.eth0.arp_ignore"], "0");
    assert!(json("host/links.json")["vips"].to_string().contains(VIP));
    let secret =
        parts["host/manifests.jsonl"].lines().find(|line| line.contains("\"Secret\"")).unwrap();
    let secret: Value = serde_json::from_str(secret).unwrap();
    assert_eq!(secret["metadata"]["annotations"]["example.com/api-token"], "<removed>");
    assert_eq!(secret["metadata"]["annotations"]["example.com/note"], "it was <removed>");
    assert!(parts.contains_key("errors.txt") && parts.contains_key("left-out.txt"));

    // Without a vipgate that runs it is what is left, and says so.
    drop(vipgate);
    let small = site.manifests.with_file_name("small.tar.gz");
    let program = Program::new(VIPGATE)
        .args(["sysdump", "--metrics", "off", "--limit", "1", "--output"])
        .arg(&small);
    site.node.run_within(SOON * 3, program).unwrap();
    let parts = unpacked(&small);
    assert!(
        parts["errors.txt"].contains("vipgate/status.json: nobody answers"),
        "{}",
        parts["errors.txt"]
    );
    assert!(parts.values().map(String::len).sum::<usize>() < (1 << 20) + 100_000);
}
