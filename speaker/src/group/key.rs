//! Keys of a group: what `vipgate keygen` prints and `--group-key FILE` reads.
//!
//! The file holds one key a line, 32 bytes in base64; empty lines and lines that begin with `#` do
//! not count. The first key seals, every key opens. A rotation without a gap is three changes of
//! the file, each made on every host before the next: the new key as second line; the two lines
//! swapped; the old one removed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Keys that a file may hold.
const MOST: usize = 2;
/// A file of two keys with comments; more is no key file.
const LONGEST: u64 = 4096;

/// One key. Never shown, except by [`GroupKey::to_text`].
#[derive(Clone, PartialEq, Eq)]
pub struct GroupKey(pub(super) [u8; 32]);

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupKey(hidden)")
    }
}

impl GroupKey {
    /// A new one from the kernel's randomness.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Randomness)?;
        Ok(Self(bytes))
    }

    /// The form that files have, without a line's end.
    pub fn to_text(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// One key, or two during a rotation. The first seals, all open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring(Vec<GroupKey>);

/// What is wrong with a key file.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{}: {error}; make one with: vipgate keygen > FILE, mode 0600, the same on every host", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read it.
    #[error("{}: mode {mode:04o} lets others read the key: chmod 600", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line that is no key.
    #[error("line {line} of the key file is no key: 32 bytes in base64, as vipgate keygen prints")]
    Line {
        /// From 1.
        line: usize,
    },
    /// None, or too many.
    #[error("the key file has {0} keys: give one, or two during a rotation")]
    Count(usize),
    /// The kernel.
    #[error("the kernel gives no random bytes")]
    Randomness,
}

impl Keyring {
    /// A ring of these keys, the sealing one first.
    pub fn new(keys: Vec<GroupKey>) -> Result<Self, KeyError> {
        match keys.len() {
            1..=MOST => Ok(Self(keys)),
            count => Err(KeyError::Count(count)),
        }
    }

    /// Reads a file, which nobody but its owner may read.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |error| KeyError::Read { path: path.to_owned(), error };
        // Checked on the open file: the name may mean another one a moment later.
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Mode { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let keys = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(line, text)| {
                let bytes = STANDARD.decode(text).map_err(|_| KeyError::Line { line })?;
                let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Line { line })?;
                Ok(GroupKey(bytes))
            })
            .collect::<Result<Vec<_>, KeyError>>()?;
        Self::new(keys)
    }

    /// The keys, the sealing one first.
    pub(super) fn keys(&self) -> &[GroupKey] {
        &self.0
    }
}
