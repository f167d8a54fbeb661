//! A pool in 127.0.0.0/8: no privilege, no lab, no ARP; and `lint`, which needs nothing either.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use vipgate_lab::eventually;

use crate::site::{SOON, VIPGATE, backend, gateway, pool, route};

/// Ends the process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The chain of what serves is whole; of what does not the first broken link is named, with what mends it; and
/// whole again when that was done.
fn why(admin: &Path, manifests: &Path) {
    let ask = |of: &str| {
        let output =
            Command::new(VIPGATE).args(["why", of, "--admin"]).arg(admin).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
    };
    for of in ["127.77.41.1", "gateway/web:18080", "tcproute/default/web"] {
        let (code, text) = ask(of);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("nc -vz 127.77.41.1 18080"), "{text}");
    }
    let route = manifests.join("route.yaml");
    let well = fs::read_to_string(&route).unwrap();
    let steps = [
        (well.replace("sectionName: tcp", "sectionName: gone"), "NoMatchingListener"),
        (well.replace("kind: Backend, name: web", "kind: Backend, name: gone"), "BackendNotFound"),
    ];
    for (text, cause) in steps {
        assert_ne!(text, well, "{cause}");
        fs::write(&route, text).unwrap();
        eventually(SOON, || {
            let (code, text) = ask("gateway/web");
            anyhow::ensure!(text.contains(&format!("^ the first broken link: {cause}")), "{text}");
            anyhow::ensure!(code == Some(1), "{code:?}");
            anyhow::ensure!(text.contains("route.yaml:"), "the place: {text}");
            Ok(())
        })
        .unwrap();
    }
    fs::write(&route, well).unwrap();
    eventually(SOON, || {
        let (code, text) = ask("gateway/web");
        anyhow::ensure!(code == Some(0), "{text}");
        Ok(())
    })
    .unwrap();
    let (code, text) = ask("gateway/wbe");
    assert!(code == Some(1) && text.contains("did you mean default/web?"), "{text}");
}

#[test]
fn an_ordinary_user_can_serve_on_loopback() {
    let scratch = tempfile::tempdir().unwrap();
    let home = scratch.path();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            std::io::Write::write_all(&mut stream.unwrap(), b"from loopback\n").unwrap();
        }
    });
    let manifests = home.join("manifests");
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("pool.yaml"), pool("127.77.41.1-127.77.41.9")).unwrap();
    fs::write(manifests.join("gateway.yaml"), gateway("web", &[("tcp", 18080)])).unwrap();
    let older = route("web", "web", "tcp", "web").replace("k8s.io/v1", "k8s.io/v1alpha2");
    fs::write(manifests.join("route.yaml"), older).unwrap();
    fs::write(manifests.join("backend.yaml"), backend("web", &[&endpoint])).unwrap();
    let binary = home.join("vipgate");
    fs::copy(VIPGATE, &binary).unwrap();
    let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(home).status().unwrap();
    assert!(open.success());

    let admin = home.join("admin.sock");
    let child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .args(["--bounding-set=-all", "--no-new-privs"])
        .arg(&binary)
        .args(["run", "--state"])
        .arg(home.join("state.json"))
        .arg("--admin")
        .arg(&admin)
        .arg(&manifests)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let greeting = eventually(SOON, || {
        let mut line = String::new();
        let stream = TcpStream::connect("127.77.41.1:18080")?;
        stream.set_read_timeout(Some(Duration::from_secs(3)))?;
        BufReader::new(stream).read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "closed without a greeting");
        Ok(line)
    })
    .unwrap();
    assert_eq!(greeting, "from loopback\n");
    // The socket serves a moment before the report says so.
    let tree = eventually(SOON, || {
        let output = Command::new(VIPGATE).args(["status", "--admin"]).arg(&admin).output()?;
        let tree = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(output.status.success(), "{tree}");
        Ok(tree)
    })
    .unwrap();
    assert!(tree.contains("127.77.41.1") && tree.contains("Backend default/web"), "{tree}");
    why(&admin, &manifests);
    let yaml = Command::new(VIPGATE)
        .args(["status", "-o", "yaml", "--admin"])
        .arg(&admin)
        .output()
        .unwrap();
    let yaml = String::from_utf8_lossy(&yaml.stdout);
    assert!(yaml.contains("kind: Gateway") && yaml.contains("observedGeneration: 1"), "{yaml}");

    assert!(yaml.contains("apiVersion: gateway.networking.k8s.io/v1alpha2"), "as written: {yaml}");

    running.0.kill().unwrap();
    let mut log = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(!log.contains("not permitted"), "no privilege is even tried for: {log}");
}

fn lint(directory: &std::path::Path) -> Output {
    Command::new(VIPGATE).arg("lint").arg(directory).output().unwrap()
}

#[test]
fn lint_passes_the_examples_and_names_file_and_line_otherwise() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    for example in fs::read_dir(examples).unwrap() {
        let output = lint(&example.unwrap().path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("pool.yaml"), pool("10.0.0.9-10.0.0.1")).unwrap();
    fs::write(scratch.path().join("gateway.yaml"), gateway("web", &[("tcp", 80)])).unwrap();
    fs::write(scratch.path().join("route.yaml"), route("web", "webb", "tcp", "web")).unwrap();
    let output = lint(scratch.path());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("pool.yaml:9: "), "{text}");
    assert!(text.contains("write 10.0.0.1-10.0.0.9"), "{text}");
    assert!(
        text.contains("route.yaml:") && text.contains("webb"),
        "what only the planner sees: {text}"
    );
    assert_eq!(lint(&scratch.path().join("absent")).status.code(), Some(1));
}
