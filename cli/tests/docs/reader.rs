//! Somebody who reads a page and types what it says, on a machine of the lab.
//!
//! They are in a copy of what the project has for readers (`docs`, `charts`), with `vipgate` on the
//! PATH and a home of their own, and may do everything on their machine: `sudo` asks for nothing there. What they
//! leave running ends with the page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program, eventually};

use crate::console::{Piece, Step, fits};
use crate::of_project;
use crate::pages::Page;

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
const SUDO: &str = r#"sudo() { env -u KUBECONFIG "$@"; }"#;
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How soon what was started has to be seen.
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Reader {
    // The order of dropping: programs before what they are in.
    running: Vec<(usize, Process)>,
    machine: Node,
    directory: TempDir,
    _network: (Lab, Bridge, Vec<Link>),
}

impl Reader {
    /// On a machine that is alone in its network, with the addresses that examples have.
    pub(crate) fn alone() -> Result<Self> {
        let lab = Lab::new("docs")?;
        let lan = lab.bridge("lan")?;
        let machine = lab.node("reader")?;
        let link = machine.join(&lan, "192.0.2.11/24")?;
        link.add_address("10.77.0.1/24")?;
        Self::on(machine, (lab, lan, vec![link]))
    }

    pub(crate) fn on(machine: Node, network: (Lab, Bridge, Vec<Link>)) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("vglab-docs-").tempdir()?;
        for below in ["bin", "home"] {
            std::fs::create_dir(directory.path().join(below))?;
        }
        let reader = Self { running: Vec::new(), machine, directory, _network: network };
        reader.has_program("vipgate", Path::new(VIPGATE))?;
        Ok(reader)
    }

    /// Puts a program on the PATH.
    pub(crate) fn has_program(&self, name: &str, path: &Path) -> Result<()> {
        let link = self.directory.path().join("bin").join(name);
        std::os::unix::fs::symlink(path, link).with_context(|| name.to_owned())
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Does what a page says, from the top, in a fresh copy.
    pub(crate) fn follow(&mut self, page: &Page, pieces: &[Piece]) -> Result<()> {
        let work = self.directory.path().join("work");
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        for part in ["docs", "charts"] {
            copy(&of_project(part), &work.join(part))?;
        }
        for piece in pieces {
            match piece {
                Piece::Write { file, text } => {
                    let path = work.join(file);
                    std::fs::create_dir_all(path.parent().context("a directory")?)?;
                    std::fs::write(path, text)?;
                }
                Piece::Type(step) => {
                    let done = if step.stays { self.start(step) } else { self.do_it(step) };
                    done.with_context(|| {
                        let tails = self.running.iter().map(|(_, process)| process.tail());
                        let tails = tails.collect::<Vec<_>>().join("\n");
                        format!("{}:{}: {}\n{tails}", page.path, step.line, step.command)
                    })?;
                }
            }
        }
        for (line, process) in &self.running {
            ensure!(!process.has_ended(), "{}:{line}: has ended\n{}", page.path, process.tail());
        }
        self.running.clear();
        Ok(())
    }

    fn shell(&self, command: &str) -> Program {
        let home = self.home();
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.directory.path().join("bin");
        let own = |name: &str| home.join(name).into_os_string();
        Program::new("bash")
            // Whoever types it is root there already, on machines without sudo as well; it does not hand on
            // what is set for a cluster.
            .args(["-c".to_owned(), format!("{SUDO}\n{{ {command}\n}} 2>&1")])
            .dir(self.directory.path().join("work"))
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()))
            .env("HOME", &home)
            .env("KUBECONFIG", own(".kube/config"))
            .env("HELM_CACHE_HOME", own("helm"))
            .env("VIPGATE_ADMIN", own("admin.sock"))
            .env("VIPGATE_STATE", own("state.json"))
    }

    fn start(&mut self, step: &Step) -> Result<()> {
        let process = self.machine.spawn(self.shell(&step.command))?;
        std::thread::sleep(Duration::from_millis(300));
        ensure!(!process.has_ended(), "it has ended\n{}", process.tail());
        self.running.push((step.line, process));
        Ok(())
    }

    /// While something is on its way, a reader looks again.
    fn do_it(&self, step: &Step) -> Result<()> {
        match self.running.is_empty() {
            true => self.once(step),
            false => eventually(SOON, || self.once(step)),
        }
    }

    fn once(&self, step: &Step) -> Result<()> {
        let mut process = self.machine.spawn(self.shell(&step.command))?;
        let ended = process.wait(COMMAND)?;
        let said = process.output().stdout_text();
        ensure!(ended.code() == Some(step.code), "it ended with {ended}:\n{said}");
        let printed: Vec<&str> = said.trim_end().lines().collect();
        let is_told = step.output.is_empty() || fits(&step.output, &printed);
        ensure!(is_told, "the page shows\n{}\nand it prints\n{said}", step.output.join("\n"));
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
