//! Changes of the directory: fast, isolated, and never at the cost of a connection that still has
//! its route.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, backend, gateway, pool, route, weighted_route};

fn echo(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

/// Opens a connection and reads past the greeting.
fn open(site: &Site, to: &str) -> TcpStream {
    let mut stream = site.connect(to).unwrap();
    let mut byte = [0];
    while byte[0] != b'\n' {
        stream.read_exact(&mut byte).unwrap();
    }
    stream
}

#[test]
fn a_change_applies_within_200_ms_of_the_last_write() {
    let site = Site::new("fast");
    let _servers = [site.echo("10.77.0.21:80"), site.echo("10.77.0.22:80")];
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let mut worst = Duration::ZERO;
    for round in 0..10 {
        let target = if round % 2 == 0 { "10.77.0.22:80" } else { "10.77.0.21:80" };
        site.write("backend.yaml", &backend("web", &[target]));
        let written = Instant::now();
        while site.greeting(&format!("{VIP}:80")).unwrap() != target {
            assert!(written.elapsed() < SOON, "the change never applied");
        }
        worst = worst.max(written.elapsed());
    }
    println!("slowest of 10 changes: {worst:?}");
    assert!(worst < vipgate_lab::patience(Duration::from_millis(200)), "{worst:?}");
}

#[test]
fn changes_close_no_connection_whose_route_stands_and_its_end_closes_it() {
    let site = Site::new("steady");
    let _servers = [site.echo("10.77.0.21:80"), site.echo("10.77.0.22:80")];
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let web = format!("{VIP}:80");
    let mut connections: Vec<TcpStream> = (0..20).map(|_| open(&site, &web)).collect();

    let mut check = |what: &str| {
        std::thread::sleep(Duration::from_millis(150));
        for stream in &mut connections {
            echo(stream, what.as_bytes());
        }
    };
    site.write("backend.yaml", &backend("web", &["10.77.0.22:80"]));
    check("other endpoints");
    site.write("other.yaml", &backend("other", &["10.77.0.21:80"]));
    site.write("route.yaml", &weighted_route("web", "web", "tcp", &[("web", 3), ("other", 0)]));
    check("other weights");
    // The path decides what is older: `a-older.yaml` comes before `route.yaml`.
    site.write("a-older.yaml", &route("older", "web", "tcp", "other"));
    check("superseded by an older route");
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80), ("more", 81)]));
    check("one more listener");
    site.write("pool.yaml", &pool("10.77.0.200-10.77.0.250"));
    check("a larger pool");
    site.write("route.yaml", "kind: [broken");
    check("a broken file");

    fs::remove_file(site.manifests.join("route.yaml")).unwrap();
    eventually(SOON, || {
        let ended = connections.iter_mut().all(|stream| {
            stream.set_nonblocking(true).unwrap();
            !matches!(stream.read(&mut [0; 16]), Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
        anyhow::ensure!(ended, "a connection outlives its route");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.greeting(&web).unwrap(), "10.77.0.21:80", "the older route serves on");
}

#[test]
fn a_broken_file_keeps_its_last_good_version_and_is_named() {
    let site = Site::new("broken");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80)]).replace("port: 80", "port: eighty"));
    let problem = eventually(SOON, || {
        let report = vipgate.report(&site.node)?;
        let problem = report["problems"][0].to_string();
        anyhow::ensure!(problem.contains("gateway.yaml:"), "{report}");
        Ok(problem)
    })
    .unwrap();
    assert!(problem.contains("spec.listeners[0].port"), "{problem}");
    assert_eq!(site.greeting(&format!("{VIP}:80")).unwrap(), "10.77.0.21:80");
    let error = format!("{:#}", vipgate.status(&site.node, &[]).unwrap_err());
    assert!(error.contains("gateway.yaml:"), "exit code 1, problems first: {error}");

    site.write("gateway.yaml", &gateway("web", &[("tcp", 80)]));
    site.healthy(&vipgate);
}

#[test]
fn an_invalid_share_is_reset_and_the_rest_is_exact() {
    let site = Site::new("shares");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    site.write("route.yaml", &weighted_route("web", "web", "tcp", &[("web", 3), ("missing", 1)]));
    let vipgate = site.start_with(&site.manifests, &["--workers", "1"]);
    eventually(SOON, || Ok(site.connect(&format!("{VIP}:80")).map(drop)?)).unwrap();
    let mut reset = 0;
    for _ in 0..400 {
        match site.greeting(&format!("{VIP}:80")) {
            Ok(greeting) => assert_eq!(greeting, "10.77.0.21:80"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "accepted, then reset");
                reset += 1;
            }
        }
    }
    assert!((98..=102).contains(&reset), "a quarter of 400, exactly: {reset}");
    let report = vipgate.report(&site.node).unwrap();
    assert!(report["problems"].to_string().contains("missing"), "{}", report["problems"]);
}

#[test]
fn a_directory_that_is_swapped_or_made_anew_is_followed() {
    let site = Site::new("swapped");
    let _servers = [site.echo("10.77.0.21:80"), site.echo("10.77.0.22:80")];
    let (first, second) = ("10.77.0.21:80", "10.77.0.22:80");
    let releases = site.manifests.join("releases");
    let current = releases.join("current");
    let release = |name: &str, endpoint: &str| {
        site.write_web(&[endpoint]);
        fs::create_dir_all(releases.join(name)).unwrap();
        for file in ["pool.yaml", "gateway.yaml", "route.yaml", "backend.yaml"] {
            fs::rename(site.manifests.join(file), releases.join(name).join(file)).unwrap();
        }
    };
    release("1", first);
    release("2", second);
    symlink("1", &current).unwrap();
    let vipgate = site.start_with(&current, &[]);
    site.healthy(&vipgate);
    let goes_to = |target: &str, what: &str| {
        eventually(SOON, || {
            let greeting = site.greeting(&format!("{VIP}:80"))?;
            anyhow::ensure!(greeting == target, "{what}: still {greeting}");
            Ok(())
        })
        .unwrap();
    };
    goes_to(first, "the first release");
    symlink("2", releases.join("next")).unwrap();
    fs::rename(releases.join("next"), &current).unwrap();
    goes_to(second, "the link leads elsewhere");

    fs::rename(releases.join("2"), releases.join("old")).unwrap();
    release("2", first);
    goes_to(first, "the directory was made anew");
    fs::write(releases.join("2/backend.yaml"), backend("web", &[second])).unwrap();
    goes_to(second, "a file in the new directory");

    let elsewhere = releases.join("backend.yaml");
    fs::write(&elsewhere, backend("web", &[first])).unwrap();
    fs::remove_file(releases.join("2/backend.yaml")).unwrap();
    symlink(&elsewhere, releases.join("2/backend.yaml")).unwrap();
    goes_to(first, "a link to a file elsewhere");
    fs::write(&elsewhere, backend("web", &[second])).unwrap();
    goes_to(second, "the file elsewhere changed");
}

#[test]
fn files_rewritten_in_place_without_a_pause_are_not_read_half_written() {
    let site = Site::new("churn");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let mut stream = open(&site, &format!("{VIP}:80"));
    let text = gateway("web", &[("tcp", 80)]);
    let (start, end) = text.as_bytes().split_at(text.len() / 2);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        // Empty for longer than it is whole.
        let mut file = fs::File::create(site.manifests.join("gateway.yaml")).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        file.write_all(start).unwrap();
        file.write_all(end).unwrap();
        drop(file);
        std::thread::sleep(Duration::from_millis(20));
        echo(&mut stream, b"still here");
    }
    std::thread::sleep(Duration::from_millis(300));
    echo(&mut stream, b"and after it");
}

#[test]
fn a_backend_that_nothing_reaches_is_a_problem_until_it_is_reached() {
    let site = Site::new("dead");
    site.server_address("10.77.0.21".parse().unwrap());
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let web = format!("{VIP}:80");
    let error = site.greeting(&web).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "nobody listens there");
    let problems = vipgate.report(&site.node).unwrap()["problems"].to_string();
    assert!(problems.contains("Backend default/web could not be reached"), "{problems}");
    assert!(problems.contains("10.77.0.21:80: Connection refused"), "{problems}");
    assert!(vipgate.status(&site.node, &[]).is_err(), "exit code 1");

    let _server = site.echo("10.77.0.21:80");
    assert_eq!(site.greeting(&web).unwrap(), "10.77.0.21:80");
    site.healthy(&vipgate);
}
