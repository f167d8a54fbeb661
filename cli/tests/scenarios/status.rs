//! What `vipgate status` prints for programs, and how long it takes where there is much.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use vipgate_lab::{Program, eventually};

use crate::site::{SOON, Site, VIPGATE, Vipgate, backend, gateway, pool, route};

/// What is wrong with a report, by the schema that the docs have.
fn invalid(report: &Value) -> Option<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/status.schema.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("status.schema.json", schema).unwrap();
    let index = compiler.compile("status.schema.json", &mut schemas).unwrap();
    schemas.validate(report, index).err().map(|error| error.to_string())
}

#[test]
fn what_is_printed_for_programs_is_as_the_schema_says() {
    let site = Site::new("schema");
    site.write_web(&["10.77.0.2:80", "10.77.0.2:81"]);
    let udp =
        "\n  - {name: dns, protocol: UDP, port: 53}\n  - {name: h, protocol: HTTP, port: 8080}\n";
    site.write("gateway.yaml", &(gateway("web", &[("tcp", 80)]) + udp.trim_start_matches('\n')));
    site.write("zlost.yaml", &route("zlost", "web", "tcp", "gone"));
    let vipgate = site.start();
    let report: Value = eventually(SOON, || {
        let report: Value = serde_json::from_str(&vipgate.status(&site.node, &["-o", "json"])?)?;
        ensure!(
            report["vips"][0]["listeners"].as_array().is_some_and(|all| all.len() == 3),
            "{report}"
        );
        ensure!(report["vips"][0]["healthy"] == true, "{report}");
        Ok(report)
    })
    .unwrap();
    assert_eq!(report["schemaVersion"], 1);
    assert_ne!(report["problems"], json!([]), "nothing to see of problems");
    assert_eq!(invalid(&report), None, "{report}");
    // The whole way: from the address to the endpoints, on one tree.
    let tcp =
        &report["vips"][0]["listeners"].as_array().unwrap().iter().find(|one| one["name"] == "tcp");
    let endpoint = &tcp.unwrap()["routes"][0]["backends"][0]["endpoints"][0]["address"];
    assert_eq!(endpoint, "10.77.0.2:80", "{report}");
    assert_eq!(report["vips"][0]["gateway"], "Gateway default/web");
    assert_eq!(report["vips"][0]["nodes"][0]["owner"], true);

    // The schema would find what is not so.
    for (place, wrong) in [
        ("/schemaVersion", json!(2)),
        ("/vips/0/address", json!(7)),
        ("/vips/0/listeners/0/accepted", json!(-1)),
        ("/vips/0/listeners/0/port", json!("80")),
        ("/problems", json!({})),
        ("/vips/0/nodes/0/owner", Value::Null),
    ] {
        let mut other = report.clone();
        *other.pointer_mut(place).unwrap() = wrong;
        assert!(invalid(&other).is_some(), "{place} may be wrong");
    }
    let mut less = report.clone();
    less["vips"][0].as_object_mut().unwrap().remove("state");
    assert!(invalid(&less).is_some());
}

/// Seconds of processor time that a process has had, its own and of children that it waited for.
fn processor_time(stat: &str) -> [f64; 2] {
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // USER_HZ, whatever the kernel's own clock has.
    let ticks = 100.0;
    // After the state, which is no number: user and system time are the 11th and 12th, of children next.
    [(fields[10] + fields[11]) / ticks, (fields[12] + fields[13]) / ticks]
}

/// Processor time of a question by `vipgate status`, of the process that answers and of the one that asks.
fn cost(site: &Site, vipgate: &Vipgate, output: &str, to: &Path) -> (f64, f64) {
    let stat = format!("/proc/{}/stat", vipgate.process.pid());
    let of_server = || processor_time(&std::fs::read_to_string(&stat).unwrap())[0];
    let before = of_server();
    let script = "\"$0\" status -o \"$1\" --admin \"$2\" > \"$3\"; cat /proc/$$/stat";
    let program = Program::new("sh").args(["-c", script, VIPGATE, output]);
    let said = site.node.run_within(SOON * 3, program.arg(&vipgate.admin).arg(to)).unwrap();
    (of_server() - before, processor_time(&said)[1])
}

#[test]
fn a_thousand_vips_are_shown_within_a_second() {
    const VIPS: usize = 1_000;
    let site = Site::new("thousand");
    let mut all = pool("127.77.0.1-127.77.3.232");
    for number in 0..VIPS {
        let name = format!("web{number}");
        let _ = write!(
            all,
            "---\n{}---\n{}",
            gateway(&name, &[("tcp", 80)]),
            route(&name, &name, "tcp", "web")
        );
    }
    let _ = write!(all, "---\n{}", backend("web", &["10.77.0.2:80"]));
    site.write("all.yaml", &all);
    let vipgate = site.start();
    let file = site.manifests.with_file_name("report");
    eventually(Duration::from_secs(120), || {
        let report: Value = serde_json::from_str(&vipgate.status(&site.node, &["-o", "json"])?)?;
        let vips = report["vips"].as_array().cloned().unwrap_or_default();
        let serve = vips.iter().filter(|vip| vip["healthy"] == true).count();
        ensure!(serve == VIPS, "{serve} serve");
        Ok(())
    })
    .unwrap();
    for output in ["tree", "json"] {
        let began = Instant::now();
        let (server, client) = cost(&site, &vipgate, output, &file);
        eprintln!(
            "{VIPS} VIPs as {output}: {server:.2} s of the process, {client:.2} s of the command, {:?} by the clock",
            began.elapsed()
        );
        // Other tests have the processors as well, so it is theirs that counts and not the clock.
        assert!(server + client <= 1.0, "{server} s and {client} s");
        let shown = std::fs::read_to_string(&file).unwrap();
        assert!(
            shown.contains("127.77.3.232") && shown.contains("Backend default/web"),
            "{output}"
        );
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(invalid(&report), None);
}
