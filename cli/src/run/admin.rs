//! The admin socket: answers `{"get":"status"}` with a [`StatusReport`] and closes. `{"get":"rebalance"}`
//! has VIPs spread anew, and is answered with `{"rebalance":"…"}`.
//!
//! The socket is for the user who runs the process (mode 0600). A file that a dead process left is
//! replaced; one that somebody still answers on is not.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::getuid;
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::status::report::StatusReport;

/// Longest question.
const QUESTION: u64 = 4096;
/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions answered at once; more wait.
const AT_ONCE: usize = 8;

/// Why there is no admin socket.
#[derive(Debug, Error)]
pub(crate) enum AdminError {
    /// Somebody answers there.
    #[error("{} is in use by another vipgate; give each its own --admin SOCKET", .0.display())]
    InUse(PathBuf),
    /// Who owns the directory could put another socket in the place of ours.
    #[error("{} belongs to another user (uid {owner}); choose another place with --admin SOCKET",
        directory.display())]
    Foreign { directory: PathBuf, owner: u32 },
    /// It cannot be made.
    #[error("{}: {error}; choose another place with --admin SOCKET", path.display())]
    Bind { path: PathBuf, error: io::Error },
}

/// A question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Question {
    get: Subject,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Subject {
    Status,
    Rebalance,
}

/// Who can say how things are.
pub(crate) trait Reporter: Send + Sync + 'static {
    /// How things are now.
    fn report(&self) -> StatusReport;

    /// Has VIPs spread anew over the group; what is in the way, or in words what happens now.
    fn rebalance(&self) -> Result<String, String>;
}

/// The bound socket. Its file goes with it.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AdminSocket {
    /// Takes the place. Who asks from now on waits until [`Self::serve`].
    pub(crate) fn bind(path: &Path) -> Result<Self, AdminError> {
        let failed = |error| AdminError::Bind { path: path.to_owned(), error };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
            let (owner, me) = (fs::metadata(parent).map_err(failed)?.uid(), getuid().as_raw());
            if ![0, me].contains(&owner) && me != 0 {
                return Err(AdminError::Foreign { directory: parent.to_owned(), owner });
            }
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(AdminError::InUse(path.to_owned())),
            // An ordinary file refuses as a socket without a listener does; it is somebody's.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let socket = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(socket)
    }

    /// Answers until `stopped`, on tasks of `tracker`.
    pub(crate) fn serve(
        self,
        reporter: Arc<dyn Reporter>,
        tracker: &TaskTracker,
        stopped: CancellationToken,
    ) {
        let connections = tracker.clone();
        tracker.spawn(async move {
            tokio::select! {
                () = self.accept(reporter, connections) => {}
                () = stopped.cancelled() => {}
            }
        });
    }

    async fn accept(self, reporter: Arc<dyn Reporter>, connections: TaskTracker) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors: asking again at once would only spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let reporter = reporter.clone();
            connections.spawn(async move {
                let _slot = slot;
                match timeout(PATIENCE, answer(stream, &*reporter)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "admin question failed"),
                    Err(_) => tracing::debug!("admin question took too long"),
                }
            });
        }
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

async fn answer(mut stream: UnixStream, reporter: &dyn Reporter) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    BufReader::new(reading.take(QUESTION)).read_line(&mut line).await?;
    writing.write_all(reply(&line, reporter)?.as_bytes()).await?;
    writing.write_all(b"\n").await?;
    writing.shutdown().await
}

/// The answer to a line: what it asks for, or what is wrong with it.
fn reply(line: &str, reporter: &dyn Reporter) -> serde_json::Result<String> {
    match serde_json::from_str(line) {
        Ok(Question { get: Subject::Status }) => serde_json::to_string(&reporter.report()),
        Ok(Question { get: Subject::Rebalance }) => Ok(match reporter.rebalance() {
            Ok(words) => serde_json::json!({ "rebalance": words }).to_string(),
            Err(why) => serde_json::json!({ "error": why }).to_string(),
        }),
        Err(error) => Ok(serde_json::json!({"error": error.to_string()}).to_string()),
    }
}

#[cfg(test)]
mod tests;
