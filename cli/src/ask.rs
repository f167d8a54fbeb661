//! Asks the running process on its admin socket, or says that a cluster is to be asked.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::args::{AskArgs, is_kubectl_plugin};
use crate::run::paths;

/// How long the running process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The process behind this socket.
    Process(Option<PathBuf>),
    /// The API server that this file names.
    Cluster(PathBuf),
}

/// Whom the arguments mean. A socket that answers goes before a file that nobody named; as a plugin of kubectl
/// it is always a cluster, unless a socket is named.
pub(crate) fn whom(args: &AskArgs) -> Whom {
    if args.admin.socket.is_some() {
        return Whom::Process(args.admin.socket.clone());
    }
    let home = std::env::home_dir().map(|home| home.join(".kube/config"));
    let answers = || UnixStream::connect(paths::admin_socket(None)).is_ok();
    let home = || home.filter(|home| is_kubectl_plugin() || (home.exists() && !answers()));
    args.kubeconfig.clone().or_else(home).map_or(Whom::Process(None), Whom::Cluster)
}

/// The answer of the process behind a socket to `{"get": what}`.
pub(crate) fn process<T: DeserializeOwned>(socket: Option<&Path>, what: &str) -> Result<T> {
    let socket = paths::admin_socket(socket);
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "nobody answers on {}; is `vipgate run` or `vipgate speaker` \
             running, as this user, with the same --admin?",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", json!({ "get": what })).as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("no answer within {PATIENCE:?}; the process may be overloaded"))?;
    if answer.is_empty() {
        bail!("the process closed the connection without an answer; its log says why");
    }
    let value: serde_json::Value = serde_json::from_str(&answer)?;
    if let Some(error) = value["error"].as_str() {
        bail!("{error}");
    }
    serde_json::from_value(value)
        .with_context(|| format!("the answer is not a {what}; are the versions the same?"))
}
