//! What to start: a program, its arguments and environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::Access;

/// A program to start on a node, built like [`std::process::Command`].
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
}

impl Program {
    /// A program by path, or by name to be found on `PATH` and in the `sbin` directories.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), arguments: vec![], environment: vec![], directory: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|one| one.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable, on top of those of this process.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The file name, for messages.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The command that runs the program as leader of a process group, and has the kernel kill
    /// it when the thread that starts it ends (`setpriv` sets that and becomes the program).
    pub(super) fn into_command(self) -> Result<Command> {
        let path = find(&self.path)?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(path)
            .args(self.arguments)
            .envs(self.environment)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        Ok(command)
    }
}

impl From<&str> for Program {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

/// Found here rather than by `setpriv`, for the sake of the message; daemons are in `sbin`,
/// which is not on the `PATH` of ordinary users.
fn find(program: &Path) -> Result<PathBuf> {
    let executable =
        |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    if program.components().count() > 1 {
        let absolute = std::path::absolute(program)?;
        return Some(absolute)
            .filter(executable)
            .with_context(|| format!("{} is not an executable file", program.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(executable)
        .with_context(|| {
            let program = program.display();
            format!(
                "{program} is not installed: scripts/install-test-tools.sh installs what tests use"
            )
        })
}
