//! The API of a cluster, without a program to start for each request.
//!
//! `kubectl proxy` speaks TLS and has the rights; a request is HTTP/1.0 on its Unix socket, whose
//! answers end with the connection, so that there is little to parse. It can do everything, as
//! [`Cluster::kubectl`](super::Cluster::kubectl) can, and takes a millisecond instead of a tenth
//! of a second.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{Process, Program, Result, eventually, patience};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// As of kubectl. A watch is silent for longer, and has none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests to the API server of a cluster, as one who may do everything.
///
/// Paths are those of the API, such as `/api/v1/namespaces/default/pods?limit=1`. A request fails
/// with a [`Refusal`] when the API server answers and does not do it.
#[derive(Debug)]
pub struct Api {
    // Before the socket's directory, which is the cluster's.
    _proxy: Process,
    socket: PathBuf,
}

/// What the API server said no with.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {code} {message}")]
pub struct Refusal {
    method: String,
    path: String,
    /// The HTTP status, such as 404 or 409.
    pub code: u16,
    /// The message of the `Status`, or the whole answer.
    pub message: String,
}

/// How a patch is to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386: lists are replaced.
    Merge,
    /// Kubernetes' own, for its built-in kinds: conditions are merged by type.
    Strategic,
}

/// The events of a watch, from now on.
#[derive(Debug)]
pub struct Watch {
    stream: UnixStream,
    lines: std::io::Lines<BufReader<UnixStream>>,
}

impl Api {
    pub(super) fn start(
        node: &crate::Node,
        kubectl: impl FnOnce(Vec<String>) -> Program,
        directory: &Path,
    ) -> Result<Self> {
        let socket = directory.join("api.socket");
        let arguments = vec!["proxy".to_owned(), format!("--unix-socket={}", socket.display())];
        let proxy = node.spawn(kubectl(arguments))?;
        eventually(START_TIMEOUT, || {
            ensure!(!proxy.has_ended(), "it has ended");
            Ok(UnixStream::connect(&socket)?)
        })
        .with_context(|| format!("kubectl proxy\n{}", proxy.tail()))?;
        Ok(Self { _proxy: proxy, socket })
    }

    /// Reads an object, or a list.
    ///
    /// # Errors
    /// When there is none, or the API server cannot be reached.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.request("GET", path, None)
    }

    /// Creates an object in the collection `path`, or a subresource such as a pod's `binding`.
    ///
    /// # Errors
    /// When there is one of its name, or it is not valid, or not reached.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.request("POST", path, Some(("application/json", object)))
    }

    /// Writes an object as a whole; with a `resourceVersion`, only if it still is that version.
    ///
    /// # Errors
    /// When it is not valid, or has changed, or the API server is not reached.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value> {
        self.request("PUT", path, Some(("application/json", object)))
    }

    /// Changes the object at `path`, or its subresource, such as `…/status`.
    ///
    /// # Errors
    /// When there is none, or the result is not valid, or the API server is not reached.
    pub fn patch(&self, path: &str, kind: Patch, patch: &Value) -> Result<Value> {
        let content = match kind {
            Patch::Merge => "application/merge-patch+json",
            Patch::Strategic => "application/strategic-merge-patch+json",
        };
        self.request("PATCH", path, Some((content, patch)))
    }

    /// Deletes an object; `options` is a `DeleteOptions`, or `{}`.
    ///
    /// # Errors
    /// When there is none, or a precondition fails, or the API server is not reached.
    pub fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        self.request("DELETE", path, Some(("application/json", options)))
    }

    /// Follows a collection; `path` has `watch=1` and what else is wanted.
    ///
    /// # Errors
    /// When the API server does not take it up.
    pub fn watch(&self, path: &str) -> Result<Watch> {
        let (code, mut answer) = self.send("GET", path, None)?;
        if code != 200 {
            let mut body = String::new();
            answer.read_to_string(&mut body)?;
            return Err(refusal("GET", path, code, &body).into());
        }
        answer.get_ref().set_read_timeout(None)?;
        let stream = answer.get_ref().try_clone()?;
        Ok(Watch { stream, lines: answer.lines() })
    }

    fn request(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> Result<Value> {
        let (code, mut answer) = self.send(method, path, body)?;
        let mut body = String::new();
        answer.read_to_string(&mut body).with_context(|| format!("{method} {path}"))?;
        if !(200..300).contains(&code) {
            return Err(refusal(method, path, code, &body).into());
        }
        serde_json::from_str(&body).with_context(|| format!("{method} {path}: {body:?}"))
    }

    /// Sends a request and reads the head of the answer: its status, and its body still to come.
    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<(u16, BufReader<UnixStream>)> {
        let mut stream = UnixStream::connect(&self.socket).context("kubectl proxy is gone")?;
        stream.set_read_timeout(Some(patience(ANSWER_TIMEOUT)))?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        head += "Accept: application/json\r\n";
        let content = body.map(|(_, value)| value.to_string()).unwrap_or_default();
        if let Some((kind, _)) = body {
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", content.len());
        }
        stream.write_all(format!("{head}\r\n{content}").as_bytes())?;
        let mut answer = BufReader::new(stream);
        let code = read_head(&mut answer).with_context(|| format!("{method} {path}"))?;
        Ok((code, answer))
    }
}

/// Reads up to the empty line; the status is the second word of the first line.
fn read_head(answer: &mut impl BufRead) -> Result<u16> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let code = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let code = code.with_context(|| format!("the answer begins with {line:?}"))?;
    loop {
        line.clear();
        ensure!(answer.read_line(&mut line)? > 0, "the answer ends in its head");
        if line.trim_end().is_empty() {
            return Ok(code);
        }
    }
}

fn refusal(method: &str, path: &str, code: u16, body: &str) -> Refusal {
    let status = serde_json::from_str::<Value>(body).ok();
    let message = status.as_ref().and_then(|status| status["message"].as_str()).unwrap_or(body);
    Refusal { method: method.into(), path: path.into(), code, message: message.trim().into() }
}

/// Whether the API server says that there is no such object.
#[must_use]
pub fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == 404)
}

impl Watch {
    /// Its connection; who shuts it down ends the watch.
    pub(super) fn stream(&self) -> Result<UnixStream> {
        Ok(self.stream.try_clone()?)
    }
}

impl Iterator for Watch {
    /// The type of the event (`ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK`) and its object.
    type Item = Result<(String, Value)>;

    /// The next event. `None` when the API server ends the watch, as it does from time to time; an
    /// error when it says why, such as 410 for a version that is too old.
    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.next()? {
            Ok(line) => Some(event(&line)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

fn event(line: &str) -> Result<(String, Value)> {
    let mut event: Value = serde_json::from_str(line).with_context(|| format!("{line:?}"))?;
    let kind = event["type"].as_str().context("an event without type")?.to_owned();
    if kind == "ERROR" {
        bail!("the watch ends: {}", event["object"]["message"]);
    }
    Ok((kind, event["object"].take()))
}

#[cfg(test)]
mod tests;
