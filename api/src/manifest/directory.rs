//! The manifest files below a directory. The only I/O of this crate: plain reads, no watching.
//!
//! What holds: nothing blocks (a named pipe is refused, not opened), every directory is read once
//! however many links lead to it, and number and size of the files are bounded. What could not be
//! looked at is told apart from what is not there, so that a directory that is away for a moment
//! does not look like one whose objects were deleted.

use std::collections::BTreeSet;
use std::fs::{self, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::problem::Problem;

/// Most manifest files below a directory.
pub const MAX_FILES: usize = 10_000;
/// Largest manifest file, in bytes.
pub const MAX_FILE_SIZE: usize = 8 << 20;
/// Most bytes in all files together.
pub const MAX_TOTAL_SIZE: usize = 64 << 20;
/// Most directory entries that are looked at, manifests or not.
const MAX_ENTRIES: usize = 100_000;

/// The manifest files below a directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files that end in `.yaml` or `.yml`, sorted by path.
    pub files: Vec<File>,
    /// Directories that cannot be read, and limits that are exceeded.
    pub problems: Vec<Problem>,
    /// Path prefixes below which files may be that are not listed.
    pub unread: Vec<String>,
    /// Directories that were read, for those who watch them.
    pub directories: Vec<PathBuf>,
    /// Links that were met, whether they lead to something or not.
    pub links: Vec<PathBuf>,
}

/// One manifest file.
#[derive(Debug)]
pub struct File {
    /// Path, beginning with the directory as the caller named it.
    pub path: String,
    /// Its bytes, or why it has none.
    pub content: Result<Vec<u8>, Problem>,
}

/// Reads every `*.yaml` and `*.yml` below `root` (or `root` itself when it is a file). Hidden files
/// and directories (`.git`, the `..data` of a mounted ConfigMap) are skipped; links are followed.
pub fn read_directory(root: &Path) -> Listing {
    let mut walk = Walk::default();
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => walk.directory(root.to_owned(), &metadata),
        Ok(_) => walk.file(root),
        Err(error) => {
            let message = format!("cannot be read: {error}: check the path and its permissions");
            walk.unreadable(root, message);
        }
    }
    while let Some(entry) = walk.open.pop() {
        walk.entry(&entry);
        if walk.full {
            walk.listing.unread = vec![shown(root)];
            break;
        }
    }
    walk.listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    walk.listing
}

#[derive(Default)]
struct Walk {
    listing: Listing,
    /// Entries to look at, the next one last.
    open: Vec<PathBuf>,
    /// Directories that were read, by device and inode.
    seen: BTreeSet<(u64, u64)>,
    entries: usize,
    size: usize,
    /// Whether a limit ended the walk.
    full: bool,
}

impl Walk {
    fn entry(&mut self, path: &Path) {
        if is_hidden(path) {
            return;
        }
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
            self.listing.links.push(path.to_owned());
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if is_gone(path, &error) => return,
            Err(error) => return self.not_looked_at(path, &error),
        };
        if metadata.is_dir() {
            self.directory(path.to_owned(), &metadata);
        } else if is_manifest(path) {
            self.file(path);
        }
    }

    fn directory(&mut self, path: PathBuf, metadata: &Metadata) {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            let message = "leads to a directory that is read already (a loop?): remove this link";
            self.listing.problems.push(Problem::of_file(&shown(&path), message));
            return;
        }
        let room = MAX_ENTRIES.saturating_sub(self.entries) + 1;
        let entries = fs::read_dir(&path)
            .and_then(|entries| entries.take(room).map(|entry| Ok(entry?.path())).collect());
        let mut entries: Vec<PathBuf> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let message =
                    format!("the directory cannot be read: {error}: check its permissions");
                return self.unreadable(&path, message);
            }
        };
        self.listing.directories.push(path.clone());
        self.entries += entries.len();
        if self.entries > MAX_ENTRIES {
            let message =
                format!("more than {MAX_ENTRIES} entries below this place: move the rest");
            return self.stop(&path, message);
        }
        entries.sort_unstable_by(|a, b| b.cmp(a));
        self.open.append(&mut entries);
    }

    fn file(&mut self, path: &Path) {
        let content = match read(path) {
            Ok(content) => Ok(content),
            Err(Refusal::Io(error)) if is_gone(path, &error) => return,
            Err(refusal) => Err(Problem::of_file(&shown(path), refusal.to_string())),
        };
        if self.listing.files.len() == MAX_FILES {
            let message =
                format!("more than {MAX_FILES} manifests: this one and the rest are not read");
            return self.stop(path, message);
        }
        self.size += content.as_ref().map_or(0, Vec::len);
        if self.size > MAX_TOTAL_SIZE {
            let message = format!(
                "more than {MAX_TOTAL_SIZE} bytes of manifests: this one and the rest are not read"
            );
            return self.stop(path, message);
        }
        self.listing.files.push(File { path: shown(path), content });
    }

    /// Something that is there and whose kind is unknown: a manifest by its name, or a directory.
    fn not_looked_at(&mut self, path: &Path, error: &io::Error) {
        if is_manifest(path) {
            let path = shown(path);
            let problem = Problem::of_file(&path, Refusal::of(error).to_string());
            self.listing.files.push(File { path, content: Err(problem) });
        } else if error.raw_os_error() == Some(libc::ELOOP) {
            let message = "a loop of links: remove this link";
            self.listing.problems.push(Problem::of_file(&shown(path), message));
        } else if error.kind() != io::ErrorKind::NotFound {
            self.unreadable(path, Refusal::of(error).to_string());
        }
    }

    fn unreadable(&mut self, path: &Path, message: String) {
        self.listing.unread.push(shown(path));
        self.listing.problems.push(Problem::of_file(&shown(path), message));
    }

    fn stop(&mut self, path: &Path, message: String) {
        self.full = true;
        self.listing.problems.push(Problem::of_file(&shown(path), message));
    }
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a {0}, not a file: remove it, or give it another ending than .yaml")]
    NotAFile(&'static str),
    #[error("larger than {MAX_FILE_SIZE} bytes: split it")]
    TooLarge,
    #[error("a link that leads nowhere: remove it, or create its target")]
    Dangling,
    #[error("a loop of links: remove this link")]
    Loop,
    #[error("cannot be read: {0}: check its permissions")]
    Io(io::Error),
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ELOOP) => Self::Loop,
            Some(libc::ENOENT) => Self::Dangling,
            code => {
                Self::Io(code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    // Without O_NONBLOCK opening a named pipe would wait for a writer.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match file {
        Ok(file) => file,
        // A socket cannot be opened at all; everything else that cannot is an error.
        Err(error) => return Err(special(path).map_or(Refusal::Io(error), Refusal::NotAFile)),
    };
    let metadata = file.metadata().map_err(Refusal::Io)?;
    if !metadata.is_file() {
        return Err(Refusal::NotAFile(name_of(metadata.file_type()).unwrap_or("special file")));
    }
    let limit = MAX_FILE_SIZE as u64 + 1;
    let mut content = Vec::new();
    if metadata.len() < limit {
        file.take(limit).read_to_end(&mut content).map_err(Refusal::Io)?;
    }
    if metadata.len() >= limit || content.len() > MAX_FILE_SIZE {
        return Err(Refusal::TooLarge);
    }
    Ok(content)
}

fn special(path: &Path) -> Option<&'static str> {
    fs::metadata(path).ok().and_then(|metadata| name_of(metadata.file_type()))
}

fn name_of(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_fifo() => Some("named pipe"),
        _ if kind.is_socket() => Some("socket"),
        _ if kind.is_char_device() || kind.is_block_device() => Some("device"),
        _ => None,
    }
}

/// Whether the entry was deleted since its directory was read (and is no link without target).
fn is_gone(path: &Path, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
