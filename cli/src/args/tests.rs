//! What the command line takes, and what it answers to what it does not.

use std::time::Duration;

use clap::{CommandFactory, Parser};

use vipgate_speaker::access_log::{AccessLog, Destination, Format};

use super::{Args, Command, Output, RunArgs};

fn run(arguments: &[&str]) -> Result<RunArgs, String> {
    let arguments = ["vipgate", "run", "manifests"].iter().chain(arguments);
    match Args::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
        Command::Run(run) => Ok(run),
        other => panic!("not run: {other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Args::command().debug_assert();
}

#[test]
fn run_needs_nothing_but_a_directory() {
    let run = run(&[]).unwrap();
    assert_eq!(run.directory.to_str(), Some("manifests"));
    assert_eq!(run.announce_interval, Duration::from_secs(30));
    assert_eq!(run.drain_timeout, Duration::from_secs(30));
    assert_eq!(run.labels, []);
}

#[test]
fn an_access_log_goes_to_standard_output_or_to_a_file() {
    let log = |arguments: &[&str]| AccessLog::from(&run(arguments).unwrap().access_log);
    assert_eq!(log(&[]), AccessLog::default());
    assert_eq!(log(&["--access-log", "-"]).to, Destination::Stdout);
    let file = log(&["--access-log", "/var/log/vipgate.log", "--access-log-format", "text"]);
    assert_eq!(file.to, Destination::File("/var/log/vipgate.log".into()));
    assert_eq!(file.format, Format::Text);
    assert!(run(&["--access-log-format", "xml"]).is_err());
}

#[test]
fn labels_are_keys_with_values_and_add_up() {
    let run = run(&["--label", "rack=a1", "--label", "edge=", "--label", "a=b=c"]).unwrap();
    let labels: Vec<_> = run.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("rack", "a1"), ("edge", ""), ("a", "b=c")]);
}

#[test]
fn times_are_seconds_with_fractions() {
    let run = run(&["--drain-timeout", "0", "--announce-interval", "1.5"]).unwrap();
    assert_eq!(run.drain_timeout, Duration::ZERO);
    assert_eq!(run.announce_interval, Duration::from_millis(1500));
}

#[test]
fn a_resolver_is_an_address_with_the_port_of_dns_unless_said() {
    for (text, server) in [
        ("192.0.2.53", "192.0.2.53:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("2001:db8::53", "[2001:db8::53]:53"),
    ] {
        assert_eq!(run(&["--resolver", text]).unwrap().names.resolver, server.parse().ok());
    }
    assert_eq!(run(&[]).unwrap().names.resolver, None);
}

#[test]
fn what_is_wrong_is_answered_with_what_to_write() {
    for (arguments, answer) in [
        (["--label", "rack"], "write it as KEY=VALUE, for example rack=a1"),
        (["--label", "=a1"], "write it as KEY=VALUE, for example rack=a1"),
        (["--drain-timeout", "-1"], "write a number of seconds from 0 to 86400"),
        (["--drain-timeout", "1m"], "write a number of seconds from 0 to 86400"),
        (["--drain-timeout", "NaN"], "write a number of seconds from 0 to 86400"),
        (["--drain-timeout", "86401"], "write a number of seconds from 0 to 86400"),
        (["--announce-interval", "0"], "write a number of seconds from 1 to 86400"),
        (["--workers", "0"], "--workers"),
        (["--resolver", "dns.example.com"], "write the IP address of a DNS server"),
        (["--resolver", "0.0.0.0"], "write the IP address of a DNS server"),
    ] {
        let [flag, value] = arguments;
        let error = run(&[&format!("{flag}={value}")]).unwrap_err();
        assert!(error.contains(answer), "{arguments:?}: {error}");
    }
}

#[test]
fn status_prints_a_tree_unless_told_otherwise() {
    let output = |arguments: &[&str]| {
        let arguments = ["vipgate", "status"].iter().chain(arguments);
        match Args::try_parse_from(arguments).unwrap().command {
            Command::Status(status) => status.output,
            other => panic!("not status: {other:?}"),
        }
    };
    assert_eq!(output(&[]), Output::Tree);
    assert_eq!(output(&["-o", "yaml"]), Output::Yaml);
    assert_eq!(output(&["--output=json"]), Output::Json);
}

#[test]
fn pools_are_specs_by_name() {
    let pools = |text: &str| {
        let arguments = ["vipgate", "controller", "--pools", text];
        match Args::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
            Command::Controller(controller) => Ok::<_, String>(controller.pools.0),
            other => panic!("not controller: {other:?}"),
        }
    };
    assert!(pools("{}").unwrap().is_empty());
    let one = pools(r#"{"default": {"addresses": ["192.0.2.1"], "autoAssign": false}}"#).unwrap();
    assert_eq!(one["default"].addresses, ["192.0.2.1"]);
    assert!(!one["default"].auto_assign);
    for wrong in ["", "[]", r#"{"default": ["192.0.2.1"]}"#, r#"{"default": {}}"#] {
        let why = pools(wrong).unwrap_err();
        assert!(why.contains("write the spec of each pool by its name"), "{wrong}: {why}");
    }
}

/// The values of a key of a unit, word by word.
fn words<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).collect()
}

/// What `docs/start-standalone.md` has people install.
#[test]
fn the_unit_for_systemd_says_what_run_takes_and_waits_for_the_drain() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/start/systemd/vipgate.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let command = words(&unit, "ExecStart").into_iter().filter(|word| *word != "$OPTIONS");
    let run = match Args::try_parse_from(command).unwrap().command {
        Command::Run(run) => run,
        other => panic!("not run: {other:?}"),
    };
    let stop = words(&unit, "TimeoutStopSec")[0].strip_suffix('s').unwrap().parse().unwrap();
    assert!(Duration::from_secs(stop) >= run.drain_timeout + Duration::from_secs(10));
    assert_eq!(words(&unit, "RestartSec"), ["100ms"], "the others wait half a second for it");

    let known = Args::command().find_subcommand("run").unwrap().clone();
    let known: Vec<_> = known.get_arguments().filter_map(|argument| argument.get_env()).collect();
    let environment = words(&unit, "Environment").into_iter();
    let ours: Vec<_> = environment.filter(|word| word.starts_with("VIPGATE_")).collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    for name in ours.iter().filter_map(|variable| variable.split('=').next()) {
        assert!(known.iter().any(|known| *known == name), "`vipgate run` knows no {name}");
    }
}

#[test]
fn as_a_plugin_of_kubectl_usage_says_how_it_was_called() {
    let usage = |program: &str, arguments: &[&str]| {
        let arguments = [program].into_iter().chain(arguments.iter().copied());
        Args::read(arguments.map(Into::into)).unwrap_err().to_string()
    };
    for program in ["kubectl-vipgate", "/usr/local/bin/kubectl-vipgate"] {
        let error = usage(program, &["why"]);
        assert!(error.contains("Usage: kubectl vipgate why <WHAT>"), "{error}");
        let help = usage(program, &["check", "--help"]);
        assert!(help.contains("Usage: kubectl vipgate check [OPTIONS]"), "{help}");
    }
    let error = usage("/usr/bin/vipgate", &["why"]);
    assert!(error.contains("Usage: vipgate why <WHAT>"), "{error}");
}

#[test]
fn a_check_is_about_this_host_unless_a_cluster_is_named() {
    let about = |arguments: &[&str]| {
        let arguments = ["vipgate", "check"].iter().chain(arguments);
        match Args::try_parse_from(arguments).unwrap().command {
            Command::Check(check) => (check.about.cluster().is_some(), check.about.is_about_node()),
            other => panic!("not check: {other:?}"),
        }
    };
    assert_eq!(about(&[]), (false, true));
    assert_eq!(about(&["--kubeconfig", "x"]), (true, false));
    assert_eq!(about(&["--kubeconfig", "x", "--node"]), (true, true));
    assert!(Args::try_parse_from(["vipgate", "check", "--probe-limit", "5000"]).is_err());
    assert!(Args::try_parse_from(["vipgate", "check", "--addresses", "nonsense"]).is_err());
}
