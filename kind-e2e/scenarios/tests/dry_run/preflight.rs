//! All that is missing is said at once, and nothing is made.

use super::run::Machine;

#[test]
fn every_problem_is_said_at_once() {
    let machine = Machine::new()
        .without("helm")
        .without("go")
        .with("FAKE_NO_DAEMON", "1")
        .with("FAKE_DOCKER_VERSION", "20.10.5")
        .with("FAKE_KIND_VERSION", "0.20.0")
        .with("FAKE_KUBECTL_VERSION", "1.31.9")
        .with("FAKE_SPACE", "3000000")
        .with("FAKE_NO_IPV6", "1")
        .with("FAKE_INSTANCES", "128")
        .with("FAKE_NO_IPVS", "1");
    let arguments = ["all", "--family", "dual", "--proxy", "ipvs", "--image", "/nowhere/image.tar"];
    let output = machine.command(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for problem in [
        "docker is 20.10.5, and 24.0.0 or newer is needed",
        "docker does not answer: is it started, and may you use it? docker: cannot connect",
        "kind is 0.20.0, and 0.29.0 or newer is needed",
        "kubectl is 1.31.9, and 1.32.0 or newer is needed",
        "helm is missing: https://helm.sh",
        "go is missing, which builds the conformance suite",
        "there are 3 GB of space in ",
        "this host has no IPv6",
        "fs.inotify.max_user_instances is 128, too few",
        "this kernel has no module ip_vs",
        "there is no archive /nowhere/image.tar",
        "kind-e2e: 11 problem(s); nothing was made",
    ] {
        assert!(said.contains(problem), "{problem}: {said}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(machine.left().is_empty());
}

/// Of a machine on which it could run, and with one thing changed on it.
#[test]
fn each_problem_is_one_and_where_there_is_none_nothing_is_said() {
    let image = |machine: &Machine| machine.at("image.tar").to_str().unwrap().to_owned();
    let check = |machine: Machine, arguments: &[&str]| {
        let image = image(&machine);
        let all = [&["--check", "--image", &image][..], arguments].concat();
        let output = machine.command(&all).output().unwrap();
        assert!(machine.left().is_empty());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = check(Machine::new(), &["all", "--family", "dual", "--proxy", "ipvs"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("it can run here") && !said.contains("  - "), "{said}");
    for (name, value, arguments, problem) in [
        (
            "FAKE_ARCHITECTURE",
            "aarch64",
            &[][..],
            "runs containers for arm64, and this machine is amd64",
        ),
        ("FAKE_KERNEL", "5.4.0-generic", &["--proxy", "nftables"], "needs 5.13 or newer"),
        ("VIPGATE_E2E_RUNTIME", "lxc", &[], "VIPGATE_E2E_RUNTIME=lxc: docker or podman"),
        ("FAKE_KIND_VERSION", "dev", &[], "kind does not tell its version"),
    ] {
        let (status, said) = check(Machine::new().with(name, value), arguments);
        assert_eq!(status, Some(1), "{problem}: {said}");
        assert!(said.contains(problem), "{problem}: {said}");
        assert_eq!(said.matches("\n  - ").count(), 1, "{said}");
    }
    // What concerns Linux is not asked for elsewhere, and arm64 is as good.
    let mac = Machine::new()
        .with("FAKE_SYSTEM", "Darwin")
        .with("FAKE_MACHINE", "arm64")
        .with("FAKE_ARCHITECTURE", "aarch64")
        .with("FAKE_INSTANCES", "1")
        .without("sysctl");
    let (status, said) = check(mac, &["--family", "v6"]);
    assert_eq!(status, Some(0), "{said}");
}
