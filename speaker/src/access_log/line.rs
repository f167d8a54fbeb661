//! What a line says. There is one list of fields; both forms are made from it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use vipgate_api::vipgate::Transport;

use super::{Format, Place};

/// What is counted of a connection or session that may be logged.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) place: Arc<Place>,
    pub(crate) began: Instant,
    /// What the client asked for: Host, or server name.
    pub(crate) server_name: Option<String>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// How long connecting to the endpoint took.
    pub(crate) connect: Option<Duration>,
}

impl Tally {
    /// Of a connection that comes in now.
    pub(crate) fn new(place: Arc<Place>, began: Instant) -> Self {
        Self { place, began, server_name: None, bytes_up: 0, bytes_down: 0, connect: None }
    }
}

/// A connection or session that ended.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) time: Timestamp,
    pub(crate) tally: Tally,
    pub(crate) lasted: Duration,
    pub(crate) client: Option<SocketAddr>,
    /// Who said by a PROXY header who the client is.
    pub(crate) via: Option<SocketAddr>,
    pub(crate) route: Option<String>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) reason: &'static str,
}

/// The fields, in the order of the line.
#[derive(Serialize)]
struct Fields<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<SocketAddr>,
    vip: SocketAddr,
    protocol: Transport,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
    bytes_up: u64,
    bytes_down: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    reason: &'static str,
}

impl Line {
    /// In this form, with the end of the line.
    pub(super) fn write(&self, format: Format, out: &mut Vec<u8>) {
        let fields = self.fields();
        match format {
            // Fails for maps with keys that are no text; this has none.
            Format::Json => drop(serde_json::to_writer(&mut *out, &fields)),
            Format::Text => out.extend_from_slice(logfmt(&fields).as_bytes()),
        }
        out.push(b'\n');
    }

    fn fields(&self) -> Fields<'_> {
        let Tally { place, server_name, bytes_up, bytes_down, connect, .. } = &self.tally;
        let id = place.id.as_ref();
        Fields {
            time: format!("{:.3}", self.time),
            client: self.client,
            via: self.via,
            vip: place.bind,
            protocol: place.protocol,
            gateway: id.map(|id| id.gateway.to_string()),
            parent: id.map(|id| id.set.as_ref().unwrap_or(&id.gateway).to_string()),
            listener: id.map(|id| id.name.as_str()),
            server_name: server_name.as_deref(),
            route: self.route.as_deref(),
            endpoint: self.endpoint,
            bytes_up: *bytes_up,
            bytes_down: *bytes_down,
            duration_ms: millis(self.lasted),
            connect_ms: connect.map(millis),
            reason: self.reason,
        }
    }
}

/// With three digits behind the point.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// `key=value` of each, with one space between two.
fn logfmt(fields: &Fields<'_>) -> String {
    let mut line = String::new();
    // Fails for the same as above.
    let Ok(Value::Object(fields)) = serde_json::to_value(fields) else { return line };
    for (key, value) in fields {
        let separator = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{separator}{key}=");
        match value {
            Value::String(text) => quoted(&text, &mut line),
            other => line.push_str(&other.to_string()),
        }
    }
    line
}

/// As it is where it is of harmless characters; else in quotes, with all but printable ASCII escaped.
fn quoted(text: &str, line: &mut String) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:/[]*+@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return line.push_str(text);
    }
    line.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            ' '..='~' => line.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}
