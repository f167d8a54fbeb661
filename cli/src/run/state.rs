//! The state file: the claims, so that a restart gives every Gateway the address it had, and what
//! this host held in its group, so that a quick restart moves nothing.
//!
//! Written as a whole beside the old one and renamed over it; the generation before is kept as
//! `<file>.previous` and read when the newest cannot be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use vipgate_planner::Claims;

/// What went wrong with the state file.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// The directory cannot be made or locked.
    #[error("{}: {error}; choose another place with --state FILE", path.display())]
    Directory { path: PathBuf, error: io::Error },
    /// Somebody else has it.
    #[error("{} is in use by another vipgate; give each its own --state FILE", path.display())]
    InUse { path: PathBuf },
    /// It cannot be written.
    #[error("{}: {error}; addresses may change at the next start", path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// The file, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Document<T> {
    version: u32,
    claims: T,
    /// VIPs that this host held in its group, with their epochs.
    #[serde(default)]
    holds: Holds,
}

/// What a host held in its group, with the epochs of the holds.
pub(crate) type Holds = BTreeMap<IpAddr, u64>;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) claims: Claims,
    pub(crate) holds: Holds,
}

const VERSION: u32 = 2;

impl StateFile {
    /// Locks the file (through `<file>.lock`) and reads the claims. Generations that cannot be read
    /// are named and skipped: with none left, allocation starts from nothing.
    pub(crate) fn open(path: &Path) -> Result<(Self, State), StateError> {
        let directory = |error| StateError::Directory { path: path.to_owned(), error };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(directory)?;
        }
        let lock = File::create(beside(path, "lock")).map_err(directory)?;
        lock.try_lock().map_err(|_| StateError::InUse { path: path.to_owned() })?;
        let state = [path.to_owned(), beside(path, "previous")]
            .iter()
            .find_map(|generation| read(generation))
            .unwrap_or_default();
        Ok((Self { path: path.to_owned(), _lock: lock }, state))
    }

    /// Replaces the file.
    pub(crate) fn save(&self, state: &State) -> Result<(), StateError> {
        let State { claims, holds } = state.clone();
        let document = Document { version: VERSION, claims, holds };
        let mut text = serde_json::to_vec_pretty(&document).expect("claims are plain data");
        text.push(b'\n');
        self.put(&text).map_err(|error| StateError::Write { path: self.path.clone(), error })
    }

    fn put(&self, text: &[u8]) -> io::Result<()> {
        let new = write_new(&self.path, text)?;
        match fs::rename(&self.path, beside(&self.path, "previous")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, &self.path)
    }
}

/// Puts a file in the place of another one, as a whole; nobody but the owner may read it.
pub(crate) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    fs::rename(write_new(path, text)?, path)
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let new = beside(path, "new");
    // One that is there may have been made with other rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    Ok(new)
}

/// A path with one more extension.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn read(path: &Path) -> Option<State> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "state file cannot be read");
            return None;
        }
    };
    let document = serde_json::from_slice::<Document<Value>>(&text);
    let state = document.and_then(|Document { version, claims, holds }| match version {
        VERSION => serde_json::from_value(claims).map(|claims| Some(State { claims, holds })),
        1 => {
            serde_json::from_value(of_version_1(claims)).map(|claims| Some(State { claims, holds }))
        }
        _ => {
            tracing::warn!(file = %path.display(), version,
                "state file was written by another version of vipgate; not used");
            Ok(None)
        }
    });
    state.unwrap_or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "state file is damaged; not used");
        None
    })
}

/// Before version 2 every claim had one Gateway, as `gateway`. Its ports are not known yet: the
/// first plan fills them in.
fn of_version_1(mut claims: Value) -> Value {
    for claim in claims.as_object_mut().into_iter().flat_map(|claims| claims.values_mut()) {
        let Some(claim) = claim.as_object_mut() else { continue };
        if let Some(Value::Object(mut user)) = claim.remove("gateway") {
            user.insert("kind".to_owned(), "Gateway".into());
            claim.insert("users".to_owned(), Value::Array(vec![user.into()]));
        }
    }
    claims
}

#[cfg(test)]
mod tests;
