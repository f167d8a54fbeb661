//! No file is left to the process: what goes on goes on, and nothing spins.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate_lab::{Program, eventually};

use crate::site::{SOON, Site, VIP, VIPGATE, Vipgate, gateway, route};

/// So few that a few hundred connections take them all.
const FILES: u32 = 400;

/// vipgate with that limit, which it cannot raise.
fn start(site: &Site) -> Vipgate {
    let (state, admin) =
        (site.manifests.join("../state.json"), site.manifests.join("../admin.sock"));
    let program = Program::new("prlimit")
        .arg(format!("--nofile={FILES}:{FILES}"))
        .arg(VIPGATE)
        .args(["run", "--node", "node", "--state"])
        .arg(state)
        .arg("--admin")
        .arg(&admin)
        .arg(&site.manifests);
    let process = site.node.spawn(program).expect("vipgate starts");
    Vipgate { process, admin }
}

/// CPU time of a process so far, and how many files it has open.
fn used(pid: u32) -> (Duration, usize) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<u64>().unwrap();
    // utime and stime, of 100 ticks a second (proc(5)).
    let cpu = Duration::from_millis(10 * (ticks(11) + ticks(12)));
    (cpu, fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count())
}

fn echo(stream: &mut TcpStream) {
    stream.write_all(b"going on").unwrap();
    let mut back = [0; 8];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"going on");
}

#[test]
fn when_files_run_out_traffic_and_announcements_go_on_and_nothing_spins() {
    let site = Site::new("files");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = start(&site);
    site.healthy(&vipgate);
    let web = format!("{VIP}:80");
    let mut before = site.connect(&web).unwrap();
    before.read_exact(&mut [0; 14]).unwrap();

    // More than there is room for: they wait in the accept queue.
    let crowd: Vec<TcpStream> = (0..FILES).map(|_| site.connect(&web).unwrap()).collect();
    let pid = vipgate.process.pid();
    let full = || {
        let snapshot = metric(&site, "vipgate_tcp_accept_pauses_total")?;
        anyhow::ensure!(snapshot > 0.0, "accepting does not pause");
        Ok(())
    };
    eventually(SOON, full).unwrap();
    let ((cpu, files), begin) = (used(pid), Instant::now());
    assert!(files <= FILES as usize, "{files} files");
    // Longer than a VIP lives without being renewed.
    while begin.elapsed() < Duration::from_secs(8) {
        echo(&mut before);
        assert!(site.has_address(VIP), "it is renewed");
        assert_eq!(site.who_has(VIP), [site.on_node.mac().to_string()], "it is answered for");
    }
    let spent = used(pid).0 - cpu;
    let share = spent.as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("{spent:?} of CPU in {:?}, {files} files", begin.elapsed());
    assert!(share < 0.2, "{spent:?} of CPU in {:?}", begin.elapsed());

    // Changes are followed, too; a listener more has a file in the reserve.
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80), ("more", 81)]));
    site.write("more.yaml", &route("more", "web", "more", "web"));
    let bound = || {
        let listeners = site.node.run("ss", ["-Hltn", "sport", "=", ":81"])?;
        anyhow::ensure!(listeners.contains(VIP), "{listeners}");
        Ok(())
    };
    eventually(SOON, bound).unwrap();
    echo(&mut before);

    // And when there is room again, whoever waited is served.
    drop(crowd);
    eventually(SOON, || {
        anyhow::ensure!(site.greeting(&web)? == "10.77.0.21:80");
        Ok(())
    })
    .unwrap();
}

/// A number that the process shows.
fn metric(site: &Site, name: &str) -> anyhow::Result<f64> {
    let mut stream = site.node.enter(|| TcpStream::connect("127.0.0.1:7473"))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.ok_or_else(|| anyhow::anyhow!("no {name}: {text}"))?.trim().parse()?)
}
