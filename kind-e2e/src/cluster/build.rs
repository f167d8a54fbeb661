//! Building programs from the Go modules of ours that lie beside this crate.
//!
//! A [`Recipe`] says what comes of which module. The result is a directory in the cache of the
//! user, named by a hash of the module. It is there only when it is complete, and one process
//! builds a recipe at a time.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::go;
use crate::Result;

/// Where the modules are.
const MODULES: &str = env!("CARGO_MANIFEST_DIR");
/// Whoever waits wants to see that it goes on, and how long it may take.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// What is built of a Go module.
pub(super) struct Recipe {
    /// The module's directory, and the first part of the name in the cache.
    pub(super) name: &'static str,
    /// What it gives, for the one who waits.
    pub(super) what: &'static str,
    /// How long, and how much to fetch and to keep.
    pub(super) costs: &'static str,
    /// A package whose version the linker shall tell the programs, by the flags given with it.
    pub(super) version_of: Option<(&'static str, LinkerFlags)>,
    /// The packages, each a program named after the last element of its path; `.` is the module's
    /// own, named after the recipe.
    pub(super) packages: &'static [&'static str],
    /// The name of the program that the module's own tests become, if any.
    pub(super) tests: Option<&'static str>,
    /// Names by which the program of the recipe is called besides.
    pub(super) links: &'static [&'static str],
}

/// Linker flags that tell a program its version, such as `v1.36.3`.
pub(super) type LinkerFlags = fn(&str) -> Result<String>;

/// The directory with the programs; builds them where it is not there.
pub(super) fn built(recipe: &Recipe) -> Result<PathBuf> {
    let module = Module::read(&recipe.source(), recipe.version_of.map(|(package, _)| package))?;
    let cache = cache_directory()?;
    let directory = cache.join(format!("{}-{:016x}", recipe.name, module.hash));
    if directory.exists() {
        return Ok(directory);
    }
    std::fs::create_dir_all(&cache)
        .with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{}.lock", recipe.name)))?;
    // Another process may have built it while this one waited.
    if !directory.exists() {
        let what = recipe.what;
        go::require(&recipe.source()).with_context(|| format!("{what}: built from Go modules"))?;
        recipe
            .build(&module, &cache, &directory)
            .with_context(|| format!("cannot build {what}"))?;
    }
    Ok(directory)
}

/// The module as far as its build depends on it.
struct Module {
    hash: u64,
    /// Such as `v1.36.3`, of the package asked for.
    version: Option<String>,
}

impl Module {
    fn read(directory: &Path, package: Option<&str>) -> Result<Self> {
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
        let version = package.map(|package| required(directory, package)).transpose()?;
        Ok(Self { hash: fnv1a(&contents.concat()), version })
    }
}

/// The version of `package` that the module in `directory` requires.
pub(super) fn required(directory: &Path, package: &str) -> Result<String> {
    let requirements = std::fs::read_to_string(directory.join("go.mod"))?;
    let version = requirements.lines().find_map(|line| {
        let line = line.trim().trim_start_matches("require ");
        line.strip_prefix(package)?.strip_prefix(' ')?.split_whitespace().next()
    });
    Ok(version.with_context(|| format!("go.mod does not require {package}"))?.to_owned())
}

impl Recipe {
    pub(super) fn source(&self) -> PathBuf {
        Path::new(MODULES).join(self.name)
    }

    fn build(&self, module: &Module, cache: &Path, directory: &Path) -> Result<()> {
        let start = Instant::now();
        say(&format!(
            "building {} into {}. This is done once; it takes {}.",
            self.what,
            directory.display(),
            self.costs
        ));
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(cache)?;
        let flags = self.linker_flags(module)?;
        let options = ["-trimpath", "-buildvcs=false", "-ldflags", &flags];
        let into = format!("{}/", unfinished.path().to_str().context(NOT_TEXT)?);
        if !self.packages.is_empty() {
            self.compile(&["build", "-v"].into_iter().chain(options).collect::<Vec<_>>(), &into)?;
        }
        if let Some(tests) = self.tests {
            let output = format!("{into}{tests}");
            let rest = ["-o", &output, "."];
            let arguments = ["test", "-c"].into_iter().chain(options).chain(rest);
            go::output(&self.source(), &arguments.collect::<Vec<_>>())?;
        }
        for link in self.links {
            std::os::unix::fs::symlink(self.name, unfinished.path().join(link))?;
        }
        std::fs::rename(unfinished.keep(), directory)?;
        say(&format!("built {} in {} s", self.what, start.elapsed().as_secs()));
        Ok(())
    }

    /// Symbols are left out: nobody debugs it, and it is half the size.
    fn linker_flags(&self, module: &Module) -> Result<String> {
        let told = match (self.version_of, &module.version) {
            (Some((_, flags)), Some(version)) => flags(version)?,
            _ => String::new(),
        };
        Ok(format!("-s -w {told}"))
    }

    /// `go build -v` names each package it compiles, that is, each that is not in Go's own cache.
    fn compile(&self, build: &[&str], into: &str) -> Result<()> {
        let source = self.source();
        let list = ["list", "-deps"].iter().chain(self.packages).copied().collect::<Vec<_>>();
        let packages = go::output(&source, &list)?.lines().count();
        let arguments: Vec<_> =
            build.iter().chain(&["-o", into]).chain(self.packages).copied().collect();
        let mut child = go::command(&source, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (start, mut said) = (Instant::now(), Instant::now());
        let (mut compiled, mut complaints) = (0, String::new());
        for line in BufReader::new(child.stderr.take().expect("it was asked to be a pipe")).lines()
        {
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
}

const NOT_TEXT: &str = "the path of the cache is not text";

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
            say("another process builds the same; waiting for it");
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
