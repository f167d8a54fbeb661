//! The thread that writes. It waits for whoever reads; nobody waits for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::{AccessLog, Counts, Destination, Format, Line};

/// Lines that are written at once.
const BATCH: usize = 256;
/// How often it is looked whether a file was moved away.
const LOOK: Duration = Duration::from_secs(1);

/// Where lines go.
enum Sink {
    Stdout,
    File { path: PathBuf, file: File, looked: Instant },
}

impl Sink {
    fn open(destination: &Destination) -> io::Result<Self> {
        match destination {
            Destination::Stdout => Ok(Self::Stdout),
            Destination::File(path) => {
                Ok(Self::File { path: path.clone(), file: open(path)?, looked: Instant::now() })
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    *looked = Instant::now();
                    if was_moved(path, file) {
                        *file = open(path)?;
                    }
                }
                file.write_all(bytes)
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("access log {}: {error}", path.display()))
    })
}

/// Whether another file has its name now, or none.
fn was_moved(path: &Path, file: &File) -> bool {
    let identity = |metadata: io::Result<std::fs::Metadata>| {
        metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()))
    };
    identity(path.metadata()) != identity(file.metadata())
}

/// Starts the thread; `done` is dropped when all is written.
pub(super) fn start(
    settings: &AccessLog,
    lines: Receiver<Box<Line>>,
    counts: Arc<Counts>,
    done: SyncSender<()>,
) -> io::Result<()> {
    let (sink, format) = (Sink::open(&settings.to)?, settings.format);
    let write = move || {
        run(sink, format, &lines, &counts);
        drop(done);
    };
    thread::Builder::new().name("access-log".to_owned()).stack_size(256 * 1024).spawn(write)?;
    Ok(())
}

fn run(mut sink: Sink, format: Format, lines: &Receiver<Box<Line>>, counts: &Counts) {
    let mut batch = Vec::new();
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        batch.clear();
        let mut count = 0;
        for line in std::iter::once(first).chain(lines.try_iter()).take(BATCH) {
            line.write(format, &mut batch);
            count += 1;
        }
        match sink.write(&batch) {
            Ok(()) => {
                counts.written.fetch_add(count, Relaxed);
                failing = false;
            }
            Err(error) => {
                counts.dropped.fetch_add(count, Relaxed);
                if !failing {
                    tracing::warn!("lines of the access log are lost: {error}");
                }
                failing = true;
            }
        }
    }
}
