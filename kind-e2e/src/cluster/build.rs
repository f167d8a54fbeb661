//! Building the programs of a control plane from the Go module `kind-e2e/controlplane`.
//!
//! The result is a directory in the cache of the user, named by a hash of the module, with the
//! one file `controlplane` and a link to it for each program: what `KUBEBUILDER_ASSETS` may name as
//! well. The directory is there only when it is complete, and one process builds at a time.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::go;
use crate::Result;

const MODULE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane");
const BINARY: &str = "controlplane";
const LINKS: [&str; 5] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"];
/// Whoever waits wants to see that it goes on, and how long it may take.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// The directory with the programs; builds them where it is not there.
pub(super) fn built() -> Result<PathBuf> {
    let module = Module::read(Path::new(MODULE))?;
    let cache = cache_directory()?;
    let directory = cache.join(format!("{BINARY}-{:016x}", module.hash));
    if directory.exists() {
        return Ok(directory);
    }
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{BINARY}.lock")))?;
    // Another process may have built it while this one waited.
    if !directory.exists() {
        go::require(Path::new(MODULE)).context("the control plane is built from Go modules")?;
        build(&module, &cache, &directory).context("cannot build the control plane")?;
    }
    Ok(directory)
}

/// The module as far as its build depends on it.
struct Module {
    hash: u64,
    /// Such as `v1.36.3`: Kubernetes learns its own version from the linker.
    kubernetes: String,
}

impl Module {
    fn read(directory: &Path) -> Result<Self> {
        let listed = std::fs::read_dir(directory).with_context(|| {
            format!("the sources of vipgate are not at {}", directory.display())
        })?;
        let mut files: Vec<PathBuf> =
            listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.retain(|path| {
            path.extension().is_some_and(|end| end == "go" || end == "mod" || end == "sum")
        });
        files.sort();
        let contents = files.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
        let requirements = std::fs::read_to_string(directory.join("go.mod"))?;
        let kubernetes = requirements
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
            .context("go.mod does not require k8s.io/kubernetes")?;
        Ok(Self { hash: fnv1a(&contents.concat()), kubernetes: kubernetes.trim().to_owned() })
    }

    /// Symbols are left out: nobody debugs it, and it is half the size.
    fn linker_flags(&self) -> Result<String> {
        let package = "k8s.io/component-base/version";
        let version = &self.kubernetes;
        let mut parts = version.trim_start_matches('v').split('.');
        let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
            bail!("k8s.io/kubernetes {version} in go.mod is not a release");
        };
        Ok(format!(
            "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} \
             -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
        ))
    }
}

fn build(module: &Module, cache: &Path, directory: &Path) -> Result<()> {
    let start = Instant::now();
    say(&format!(
        "building a Kubernetes {} control plane into {}. This is done once; it takes 5 to 30 \
         minutes, 1 GB to fetch and 3 GB of disk.",
        module.kubernetes,
        directory.display()
    ));
    let source = Path::new(MODULE);
    let packages = go::output(source, &["list", "-deps", "."])?.lines().count();
    let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(cache)?;
    compile(module, packages, &unfinished.path().join(BINARY))?;
    for link in LINKS {
        std::os::unix::fs::symlink(BINARY, unfinished.path().join(link))?;
    }
    std::fs::rename(unfinished.keep(), directory)?;
    say(&format!("built the control plane in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// `go build -v` names each package it compiles, that is, each that is not in Go's own cache.
fn compile(module: &Module, packages: usize, binary: &Path) -> Result<()> {
    let flags = module.linker_flags()?;
    let output = binary.to_str().context("the path of the cache is not text")?;
    let arguments =
        ["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o", output, "."];
    let mut child = go::command(Path::new(MODULE), &arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let (start, mut said) = (Instant::now(), Instant::now());
    let (mut compiled, mut complaints) = (0, String::new());
    for line in BufReader::new(child.stderr.take().expect("it was asked to be a pipe")).lines() {
        let line = line?;
        if line.contains([' ', '\t']) {
            complaints = complaints + &line + "\n";
            continue;
        }
        compiled += 1;
        if said.elapsed() >= PROGRESS_INTERVAL {
            said = Instant::now();
            let seconds = start.elapsed().as_secs();
            say(&format!("{compiled} of {packages} packages compiled, {seconds} s"));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "go build: {status}\n{complaints}");
    Ok(())
}

fn cache_directory() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(base.context("there is no cache directory: set HOME or XDG_CACHE_HOME")?.join("vipgate"))
}

/// Held until it is dropped, and no longer than this process lives.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            say("another process builds the control plane; waiting for it");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(file)
}

/// To the real standard error: what is printed by macros is shown for failed tests only.
fn say(text: &str) {
    // Nobody to tell is no reason not to build.
    let _ = writeln!(std::io::stderr(), "vipgate-lab: {text}");
}

/// FNV-1a with 64 bits: names what was built, and is the same everywhere.
fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
