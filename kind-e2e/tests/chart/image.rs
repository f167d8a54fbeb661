//! Image and chart agree: whoever runs, what runs, and where it writes. The image itself is built and run
//! by `make image`.

use std::path::Path;

use anyhow::{Context, Result};
use vipgate_lab::cluster::template_chart;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Instructions of the Dockerfile, continued lines joined.
fn instructions() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("Dockerfile"))?.replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

fn only(instruction: &str) -> Result<String> {
    let all = instructions()?;
    let mut found = all.iter().filter_map(|line| line.strip_prefix(&format!("{instruction} ")));
    let first = found.next().with_context(|| format!("no {instruction}"))?;
    assert_eq!(found.next(), None, "several of {instruction}");
    Ok(first.to_owned())
}

fn rendered(file: &str) -> Result<String> {
    template_chart("x", &["--show-only", &format!("templates/{file}.yaml")])
}

#[test]
fn it_is_made_of_nothing_but_the_program() -> Result<()> {
    assert_eq!(only("FROM")?, "scratch", "no base image to fetch");
    let copied =
        |line: &&String| line.starts_with("COPY ") && line.contains("vipgate /usr/bin/vipgate");
    assert_eq!(instructions()?.iter().filter(copied).count(), 1);
    assert_eq!(only("ENTRYPOINT")?, "[\"/usr/bin/vipgate\"]");
    // `kubectl exec POD -- vipgate status`.
    assert_eq!(only("ENV")?, "PATH=/usr/bin");
    for nothing in ["RUN ", "VOLUME ", "EXPOSE ", "ADD "] {
        assert!(!instructions()?.iter().any(|line| line.starts_with(nothing)), "{nothing}");
    }
    Ok(())
}

#[test]
fn the_chart_runs_its_entrypoint_as_its_user() -> Result<()> {
    let (controller, speaker) = (rendered("controller")?, rendered("speaker")?);
    let user = only("USER")?;
    let (user, group) = user.split_once(':').context("user and group")?;
    assert!(user.parse::<u32>()? > 0, "a number: who is not root can be told by Kubernetes");
    assert!(controller.contains(&format!("runAsUser: {user}\n")), "{controller}");
    assert!(controller.contains(&format!("runAsGroup: {group}\n")));
    assert!(controller.contains("runAsNonRoot: true"));
    for workload in [&controller, &speaker] {
        assert!(!workload.contains("command:"), "the entrypoint is the image's");
        assert!(workload.contains("readOnlyRootFilesystem: true"));
    }
    let first = |workload: &str| -> Option<String> {
        let mut lines = workload.lines().skip_while(|line| line.trim() != "args:").skip(1);
        lines.next().map(|line| line.trim().trim_start_matches("- ").to_owned())
    };
    assert_eq!(first(&controller).as_deref(), Some("controller"));
    assert_eq!(first(&speaker).as_deref(), Some("speaker"));
    Ok(())
}

/// The one place where a speaker writes (state, admin socket: `cli/src/args.rs`) is a volume; a controller
/// has none.
#[test]
fn what_is_written_is_a_volume() -> Result<()> {
    let speaker = rendered("speaker")?;
    assert!(speaker.contains("- {name: run, mountPath: /run/vipgate}"), "{speaker}");
    let code = std::fs::read_to_string(Path::new(ROOT).join("cli/src/args.rs"))?;
    assert!(code.contains("default_value = \"/run/vipgate/state.json\""));
    assert!(code.contains("default: /run/vipgate/admin.sock for root"));
    let controller = rendered("controller")?;
    assert!(!controller.contains("volumeMounts"), "{controller}");
    Ok(())
}

/// What the script runs with is what the chart asks for.
#[test]
fn it_is_tried_with_the_rights_of_the_chart() -> Result<()> {
    let script = std::fs::read_to_string(Path::new(ROOT).join("scripts/image.sh"))?;
    let speaker = rendered("speaker")?;
    let added = speaker.lines().find_map(|line| line.trim().strip_prefix("add: ["));
    let added = added.and_then(|rest| rest.strip_suffix(']')).context("capabilities")?;
    assert!(script.contains(&format!("--cap-add {} ", added.replace(' ', ""))), "{added}");
    for option in ["--cap-drop ALL", "--read-only", "--security-opt no-new-privileges"] {
        assert!(script.contains(option), "{option}");
    }
    assert!(script.contains("--tmpfs /run/vipgate"));
    Ok(())
}
