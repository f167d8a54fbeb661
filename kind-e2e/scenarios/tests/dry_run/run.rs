//! One run of the script among fakes, and what it leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub(super) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const FAKE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes/tool");
/// The names that the fake goes by.
const NAMES: [&str; 12] = [
    "docker",
    "kind",
    "kubectl",
    "helm",
    "go",
    "cargo",
    "buildah",
    "df",
    "sysctl",
    "modprobe",
    "uname",
    "scenarios",
];

/// A machine with these programs, and nothing made yet.
pub(super) struct Machine {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["bin", "state", "results"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("image.tar"), "image").unwrap();
        let machine = Self { directory, variables: Vec::new() };
        for name in NAMES {
            symlink(FAKE, machine.at("bin").join(name)).unwrap();
        }
        let scenarios = machine.at("bin/scenarios");
        machine.with("VIPGATE_E2E_SCENARIOS", scenarios.to_str().unwrap())
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One of the programs is not there. What the host itself has is hidden, too.
    pub(super) fn without(self, program: &str) -> Self {
        fs::remove_file(self.at("bin").join(program)).unwrap();
        self
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The script with these arguments; not yet started.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        // The log of this run alone.
        fs::write(self.at("log"), "").unwrap();
        let mut command = Command::new("bash");
        command
            .arg(Path::new(ROOT).join("kind-e2e/run.sh"))
            .args(arguments)
            .env("PATH", format!("{}:{}", self.at("bin").display(), self.tools().display()))
            .env("FAKE_LOG", self.at("log"))
            .env("FAKE_STATE", self.at("state"))
            .env("VIPGATE_E2E_RESULTS", self.at("results"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            // For a signal to all of it.
            .process_group(0);
        command
    }

    /// A directory with what a script needs of a system, and none of what the host may have besides.
    fn tools(&self) -> PathBuf {
        let tools = self.at("tools");
        if !tools.exists() {
            fs::create_dir(&tools).unwrap();
            for name in [
                "awk", "bash", "cat", "date", "dirname", "env", "grep", "head", "mkdir", "rm",
                "sed", "sh", "sleep", "sort", "tail", "touch", "tr",
            ] {
                let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
                let found = found.into_iter().find(|path| path.exists()).expect(name);
                symlink(found, tools.join(name)).unwrap();
            }
        }
        tools
    }

    /// Runs it to its end. An image is given, unless the arguments begin with `no image`.
    pub(super) fn run(&self, arguments: &[&str]) -> Done {
        let image = self.at("image.tar");
        let with_image = [arguments, &["--image", image.to_str().unwrap()]].concat();
        Done::of(self, self.command(&with_image).output().unwrap())
    }

    /// What there still is of what was made.
    pub(super) fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.at("state")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(super) fn result(&self, name: &str) -> String {
        let path = self.at("results").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// A run that is over.
pub(super) struct Done {
    pub(super) status: Option<i32>,
    /// What it said.
    pub(super) said: String,
    /// What was called, in order, with the paths of the test's own directory as `DIR`.
    pub(super) calls: Vec<String>,
}

impl Done {
    pub(super) fn of(machine: &Machine, output: Output) -> Self {
        let log = fs::read_to_string(machine.at("log")).unwrap();
        let directory = machine.directory.path().to_str().unwrap();
        let calls = log.lines().map(|line| line.replace(directory, "DIR")).collect();
        let said = [output.stdout, output.stderr].concat();
        Self {
            status: output.status.code(),
            said: String::from_utf8_lossy(&said).into_owned(),
            calls,
        }
    }

    /// The calls after everything was looked at, shortened to their first words: what is done, and to what.
    pub(super) fn done(&self) -> Vec<String> {
        let looked = self.calls.iter().position(|call| call == "docker network create vipgate-e2e");
        self.calls.iter().skip(looked.unwrap_or(self.calls.len())).map(|call| short(call)).collect()
    }
}

/// Such as `docker create router`, of a call with its options.
fn short(call: &str) -> String {
    let words: Vec<&str> = call.split(' ').collect();
    let two = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let of = |all: &[&str]| all.join(" ").replace("vipgate-e2e-", "");
    match two.as_str() {
        "docker network" | "docker container" => of(&words[..3]),
        "docker create" => of(&["docker create", words[3]]),
        "docker exec" => {
            let detached = usize::from(words[2] == "--detach");
            of(&["docker exec", words[2 + detached], words[3 + detached]])
        }
        "docker cp" => of(&["docker cp", words[3]]),
        "docker start" | "docker unpause" => of(&words[..3]),
        "kind create" | "kind delete" | "kind load" | "kind get" | "kind export" => of(&words[..3]),
        _ => two,
    }
}
