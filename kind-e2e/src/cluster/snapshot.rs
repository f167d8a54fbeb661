//! What a cluster stored, for others to start with. To take the CRDs of Gateway API costs an API server more
//! than to start.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Result;

/// The data of a cluster that has ended, in memory: nothing is left of it when the tests have ended.
#[derive(Debug)]
pub struct Snapshot {
    files: Vec<Stored>,
}

#[derive(Debug)]
struct Stored {
    path: PathBuf,
    length: u64,
    /// Without the zeros at the end, which are most of it.
    content: Vec<u8>,
}

impl Snapshot {
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(directory, Path::new(""), &mut files)
            .with_context(|| format!("the data in {}", directory.display()))?;
        Ok(Self { files })
    }

    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        for file in &self.files {
            let path = directory.join(&file.path);
            fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            let mut new = File::create(&path).with_context(|| path.display().to_string())?;
            new.write_all(&file.content)?;
            new.set_len(file.length)?;
        }
        Ok(())
    }
}

fn collect(root: &Path, at: &Path, files: &mut Vec<Stored>) -> Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let mut content = fs::read(entry.path())?;
        let length = content.len() as u64;
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        content.truncate(used);
        content.shrink_to_fit();
        files.push(Stored { path, length, content });
    }
    Ok(())
}
