//! The admin socket: answers `{"get":"status"}` with a [`StatusReport`] and closes.
//!
//! The socket is for the user who runs the process (mode 0600). A file that a dead process left is
//! replaced; one that somebody still answers on is not.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
}

/// Who can say how things are.
pub(crate) trait Reporter: Send + Sync + 'static {
    /// How things are now.
    fn report(&self) -> StatusReport;
}

/// The socket file, removed at the end.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    path: PathBuf,
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the socket and answers on it until `stopped`.
pub(crate) fn serve(
    path: &Path,
    reporter: Arc<dyn Reporter>,
    tracker: &TaskTracker,
    stopped: CancellationToken,
) -> Result<AdminSocket, AdminError> {
    let listener = bind(path)?;
    let socket = AdminSocket { path: path.to_owned() };
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let connections = tracker.clone();
    tracker.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopped.cancelled() => return,
            };
            let Ok((stream, _)) = accepted else {
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
    });
    Ok(socket)
}

fn bind(path: &Path) -> Result<UnixListener, AdminError> {
    let failed = |error| AdminError::Bind { path: path.to_owned(), error };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(AdminError::InUse(path.to_owned())),
        // A file that is no socket refuses, too, and is not ours to remove.
        Err(error)
            if error.kind() == io::ErrorKind::ConnectionRefused
                && fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) =>
        {
            fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

async fn answer(mut stream: UnixStream, reporter: &dyn Reporter) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    BufReader::new(reading.take(QUESTION)).read_line(&mut line).await?;
    let text = match serde_json::from_str::<Question>(&line) {
        Ok(Question { get: Subject::Status }) => serde_json::to_string(&reporter.report())?,
        Err(error) => serde_json::json!({"error": error.to_string()}).to_string(),
    };
    writing.write_all(text.as_bytes()).await?;
    writing.write_all(b"\n").await?;
    writing.shutdown().await
}
