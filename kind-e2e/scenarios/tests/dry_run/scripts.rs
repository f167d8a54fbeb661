//! The scripts of the project, as shellcheck sees them; and that this one keeps to what bash 3.2 has.

use std::path::Path;
use std::process::Command;

use super::run::ROOT;

const SCRIPTS: [&str; 9] = [
    "kind-e2e/run.sh",
    "kind-e2e/scenarios/tests/fakes/recorder",
    "kind-e2e/scenarios/tests/fakes/tool",
    "kind-e2e/src/in-namespaces.sh",
    "scripts/audit.sh",
    "scripts/image.sh",
    "scripts/install-test-tools.sh",
    ".ci/image",
    ".ci/run",
];

#[test]
fn shellcheck_has_nothing_to_say() {
    let output = Command::new("shellcheck").args(SCRIPTS).current_dir(ROOT).output();
    let output = output.expect("shellcheck is there: apt-get install shellcheck");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// macOS has bash 3.2 and a sed, awk and grep that are not GNU's; there is none of these to run it with.
#[test]
fn nothing_newer_than_bash_3_2_is_in_the_script_that_macos_runs() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("kind-e2e/run.sh")).unwrap();
    let newer = [
        "mapfile",
        "readarray",
        "declare -A",
        "local -n",
        "declare -n",
        "|&",
        "&>>",
        ",,}",
        "^^}",
        "${EPOCH",
        "wait -n",
        "coproc",
        "printf '%(",
        "sed -i",
        "sed -r",
        "grep -P",
        "readlink -f",
        "stat --",
        "date -d",
        "sort -V",
        "mktemp --",
        "head -c -",
        "realpath",
    ];
    for word in newer {
        assert!(!text.contains(word), "{word}");
    }
}
