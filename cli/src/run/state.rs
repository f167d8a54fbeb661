//! The state file: the claims, so that a restart gives every Gateway the address it had.
//!
//! Written as a whole beside the old one and renamed over it; the generation before is kept as
//! `<file>.previous` and read when the newest cannot be.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
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
struct Document {
    version: u32,
    claims: Claims,
}

const VERSION: u32 = 1;

impl StateFile {
    /// Locks the file (through `<file>.lock`) and reads the claims. Generations that cannot be read
    /// are named and skipped: with none left, allocation starts from nothing.
    pub(crate) fn open(path: &Path) -> Result<(Self, Claims), StateError> {
        let directory = |error| StateError::Directory { path: path.to_owned(), error };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(directory)?;
        }
        let lock = File::create(beside(path, "lock")).map_err(directory)?;
        lock.try_lock().map_err(|_| StateError::InUse { path: path.to_owned() })?;
        let claims = [path.to_owned(), beside(path, "previous")]
            .iter()
            .find_map(|generation| read(generation))
            .unwrap_or_default();
        Ok((Self { path: path.to_owned(), _lock: lock }, claims))
    }

    /// Replaces the file.
    pub(crate) fn save(&self, claims: &Claims) -> Result<(), StateError> {
        let document = Document { version: VERSION, claims: claims.clone() };
        let mut text = serde_json::to_vec_pretty(&document).expect("claims are plain data");
        text.push(b'\n');
        self.replace(&text).map_err(|error| StateError::Write { path: self.path.clone(), error })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let new = beside(&self.path, "new");
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        file.sync_all()?;
        match fs::rename(&self.path, beside(&self.path, "previous")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&new, &self.path)
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn read(path: &Path) -> Option<Claims> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "state file cannot be read");
            return None;
        }
    };
    match serde_json::from_slice::<Document>(&text) {
        Ok(document) if document.version == VERSION => Some(document.claims),
        Ok(document) => {
            tracing::warn!(file = %path.display(), version = document.version,
                "state file was written by another version of vipgate; not used");
            None
        }
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "state file is damaged; not used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::ObjectKey;
    use vipgate_planner::{Claim, Origin};

    use super::*;

    fn claims(last: u8) -> Claims {
        let claim = Claim {
            pool: "lan".into(),
            gateway: ObjectKey::new("default", "web"),
            origin: Origin::Chosen,
            published: true,
        };
        Claims([([10, 0, 0, last].into(), claim)].into())
    }

    #[test]
    fn what_was_saved_is_read_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/state.json");
        let (file, empty) = StateFile::open(&path).unwrap();
        assert_eq!(empty, Claims::default());
        file.save(&claims(1)).unwrap();
        drop(file);
        assert_eq!(StateFile::open(&path).unwrap().1, claims(1));
    }

    #[test]
    fn a_damaged_file_falls_back_to_the_generation_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let (file, _) = StateFile::open(&path).unwrap();
        file.save(&claims(1)).unwrap();
        file.save(&claims(2)).unwrap();
        drop(file);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() - 2 {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(StateFile::open(&path).unwrap().1, claims(1), "cut at {length}");
        }
    }

    #[test]
    fn two_processes_cannot_share_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let held = StateFile::open(&path).unwrap();
        let error = StateFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use by another vipgate"), "{error}");
        drop(held);
        StateFile::open(&path).unwrap();
    }
}
