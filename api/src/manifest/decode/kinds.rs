//! What a document says it is, and what becomes of each kind.

use crate::manifest::de::{self, Context};
use crate::manifest::defaults;
use crate::manifest::nearest::nearest;
use crate::manifest::tree::{Entry, Node, Value};
use crate::object::Read;
use crate::{GATEWAY_GROUP, Kind, Object, ObjectKey, ObjectRef, VIPGATE_GROUP};

/// `apiVersion` and `kind` of a document that has both.
pub(super) struct Header<'n> {
    pub api_version: &'n str,
    pub kind: &'n str,
}

/// Reads what every object begins with.
///
/// # Errors
/// A line, and what is missing there.
pub(super) fn header<'n>(node: &'n Node<'_>) -> Result<Header<'n>, (u32, String)> {
    if !matches!(node.value, Value::Map(_)) {
        let message = "not an object: a document starts with `apiVersion:` and `kind:`";
        return Err((node.line, message.to_owned()));
    }
    let text = |key: &'static str| node.get(key).and_then(|entry| entry.node.text());
    let line = |key: &'static str| node.get(key).map_or(node.line, |entry| entry.line);
    let Some(kind) = text("kind") else {
        let message = match misspelled(node, "kind") {
            Some(key) => {
                return Err((
                    key.line,
                    format!("{}: unknown: write `kind:`", de::shorten(&key.key, false)),
                ));
            }
            None => "kind: missing: write it, such as `kind: Gateway`".to_owned(),
        };
        return Err((line("kind"), message));
    };
    let Some(api_version) = text("apiVersion") else {
        if let Some(key) = misspelled(node, "apiVersion") {
            return Err((
                key.line,
                format!("{}: unknown: write `apiVersion:`", de::shorten(&key.key, false)),
            ));
        }
        let example = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let example = example.map_or_else(|| "v1".to_owned(), Kind::api_version);
        let message = format!("apiVersion: missing: write it, such as `apiVersion: {example}`");
        return Err((line("apiVersion"), message));
    };
    Ok(Header { api_version, kind })
}

/// A top-level key that is probably meant to be this one.
fn misspelled<'n>(node: &'n Node<'n>, key: &str) -> Option<&'n Entry<'n>> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key != key && nearest(&entry.key, &[key]).is_some())
}

/// What a document says it is, as far as it says so.
pub(super) fn reference(kind: Kind, node: &Node<'_>) -> Option<ObjectRef> {
    let metadata = &node.get("metadata")?.node;
    let field = |key| metadata.get(key).and_then(|entry| entry.node.text());
    let name = field("name").filter(|name| !name.is_empty())?;
    let namespace = match field("namespace") {
        _ if !kind.is_namespaced() => "",
        None | Some("") => defaults::NAMESPACE,
        Some(namespace) => namespace,
    };
    // A name that no object can have may be a bad name, but not one to print into a log.
    let printable = |name: &str| name.len() <= 253 && !name.contains(char::is_control);
    if !printable(name) || !printable(namespace) {
        return None;
    }
    Some(ObjectRef { kind, key: ObjectKey::new(namespace, name) })
}

/// What we know of a kind.
pub(super) enum Found {
    /// A kind that we read, in a version that we read.
    Served(Kind, &'static str),
    /// A kind that we read, in another version.
    Unserved(Kind),
    /// Something else; perhaps a word on what was meant.
    Nothing(Option<String>),
}

/// Finds the kind that is meant.
pub(super) fn find_kind(header: &Header<'_>) -> Found {
    let (group, version) = header.api_version.split_once('/').unwrap_or(("", header.api_version));
    let same_group = |kind: &Kind| kind.group() == group;
    let same_name = |kind: &Kind| kind.name() == header.kind;
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| same_group(kind) && same_name(kind)) {
        let served = kind.versions().iter().find(|known| **known == version);
        return served.map_or(Found::Unserved(kind), |version| Found::Served(kind, version));
    }
    if let Some(kind) = Kind::ALL.iter().find(|kind| same_name(kind)) {
        return Found::Nothing(Some(format!("ours has `apiVersion: {}`", kind.api_version())));
    }
    if !matches!(group, "" | GATEWAY_GROUP | VIPGATE_GROUP) {
        return Found::Nothing(None);
    }
    let names: Vec<&str> =
        Kind::ALL.iter().filter(|kind| same_group(kind)).map(|kind| kind.name()).collect();
    Found::Nothing(nearest(header.kind, &names).map(|name| format!("did you mean `{name}`?")))
}

/// The `apiVersion`s of a kind, for a message.
pub(super) fn choices(kind: Kind) -> String {
    let group = kind.group();
    let full = |version: &&str| {
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    };
    kind.versions().iter().map(full).collect::<Vec<_>>().join("` or `")
}

/// Reads an object of a kind.
///
/// # Errors
/// A field that does not fit its type.
pub(super) fn typed(
    kind: Kind,
    node: &Node<'_>,
    context: &Context<'_>,
) -> Result<Object, de::Error> {
    struct Document<'a>(&'a Node<'a>, &'a Context<'a>);
    impl Read for Document<'_> {
        type Error = de::Error;

        fn read<T: serde::de::DeserializeOwned>(self) -> Result<T, de::Error> {
            de::decode(self.0, self.1)
        }
    }
    Object::read(kind, Document(node, context))
}

/// Replaces messages of the libraries that would not help their reader.
pub(super) fn in_words(kind: Kind, mut error: de::Error) -> de::Error {
    let path = error.path.as_deref().unwrap_or_default();
    if kind == Kind::Secret && path.starts_with("data.") {
        error.message = "is not base64: put plain text under `stringData` instead".to_owned();
    } else if kind == Kind::ConfigMap && path.starts_with("binaryData.") {
        error.message = "is not base64: put plain text under `data` instead".to_owned();
    } else if kind == Kind::BackendPolicy && path.ends_with("Bytes") {
        error.message = "is not base64: put plain text into the field without `Bytes`".to_owned();
    } else if path == "metadata.creationTimestamp" {
        error.message = "must be a time, such as 2026-01-31T12:00:00Z".to_owned();
    }
    error
}

/// Fields that exist in the API of the kind and that this program does not obey.
pub(super) fn unserved_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Gateway => &["spec.backendTLS", "spec.defaultScope"],
        Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute | Kind::HttpRoute => {
            &["spec.useDefaultGateways"]
        }
        Kind::BgpPeer => &["spec.disableMP", "spec.dualStackAddressFamily"],
        _ => &[],
    }
}
