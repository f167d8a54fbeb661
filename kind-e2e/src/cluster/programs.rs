//! Which programs a cluster is made of.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail, ensure};

use super::{build, recipes};
use crate::Result;

/// As for envtest: a directory with the programs, from wherever somebody has them.
const VARIABLE: &str = "KUBEBUILDER_ASSETS";
const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const KUBECTL: &str = "kubectl";
const KUBE_PROXY: &str = "kube-proxy";
const ALL: [&str; 4] = [ETCD, API_SERVER, CONTROLLER_MANAGER, KUBECTL];
/// Older etcd does not tell watchers how far it is, which streamed lists wait for.
const OLDEST: [(&str, Version); 2] = [(ETCD, Version(3, 6)), (API_SERVER, Version(1, 33))];

/// The programs, of suitable versions.
#[derive(Debug)]
pub(super) struct Programs {
    paths: [PathBuf; ALL.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Version(u32, u32);

impl Programs {
    /// Finds or builds them, once in this process.
    pub(super) fn get() -> Result<&'static Self> {
        static PROGRAMS: OnceLock<Result<Programs, String>> = OnceLock::new();
        let found = PROGRAMS.get_or_init(|| Self::find().map_err(|error| format!("{error:#}")));
        found.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn find() -> Result<Self> {
        if let Some(assets) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            let assets = [PathBuf::from(assets)];
            return Self::located(&assets)
                .and_then(Self::checked)
                .with_context(|| format!("{VARIABLE}: unset it to have the programs built"));
        }
        if let Ok(installed) = Self::located(&on_path()).and_then(Self::checked) {
            return Ok(installed);
        }
        Self::located(&[build::built(&recipes::CONTROL_PLANE)?])
    }

    fn located(directories: &[PathBuf]) -> Result<Self> {
        let locate =
            |name: &str| directories.iter().map(|dir| dir.join(name)).find(|path| path.exists());
        let missing: Vec<_> = ALL.into_iter().filter(|name| locate(name).is_none()).collect();
        ensure!(missing.is_empty(), "there is no {}", missing.join(", no "));
        Ok(Self { paths: ALL.map(|name| locate(name).expect("looked for above")) })
    }

    fn checked(self) -> Result<Self> {
        for (name, oldest) in OLDEST {
            let version = version_of(self.path(name))?;
            ensure!(
                version >= oldest,
                "{} has version {}.{}, at least {}.{} is needed",
                self.path(name).display(),
                version.0,
                version.1,
                oldest.0,
                oldest.1
            );
        }
        Ok(self)
    }

    fn path(&self, name: &str) -> &Path {
        let place = ALL.iter().position(|one| *one == name).expect("one of the constants");
        &self.paths[place]
    }

    pub(super) fn etcd(&self) -> &Path {
        self.path(ETCD)
    }

    pub(super) fn api_server(&self) -> &Path {
        self.path(API_SERVER)
    }

    pub(super) fn controller_manager(&self) -> &Path {
        self.path(CONTROLLER_MANAGER)
    }

    pub(super) fn kubectl(&self) -> &Path {
        self.path(KUBECTL)
    }

    /// Beside the others, else on `PATH`, else that which is built: envtest has none.
    pub(super) fn kube_proxy(&self) -> Result<PathBuf> {
        let beside = self.api_server().parent().map(Path::to_owned);
        let found = beside.into_iter().chain(on_path()).map(|directory| directory.join(KUBE_PROXY));
        match found.into_iter().find(|path| path.exists()) {
            Some(path) => Ok(path),
            None => Ok(build::built(&recipes::CONTROL_PLANE)?.join(KUBE_PROXY)),
        }
    }
}

fn on_path() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

fn version_of(program: &Path) -> Result<Version> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match Version::in_text(&printed) {
        Some(version) => Ok(version),
        None => bail!("{} --version says {printed:?}", program.display()),
    }
}

impl Version {
    /// The first in `etcd Version: 3.6.8` or `Kubernetes v1.36.3`.
    fn in_text(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.trim_start_matches('v').split('.');
            Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests;
