//! From the bytes of a file to objects: which kind, which name, typed, defaulted and checked.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use super::de::{self, Context};
use super::nearest::nearest;
use super::path::FieldLines;
use super::problem::{Findings, Problem};
use super::tree::{self, Entry, Node, Value};
use super::validate::{self, Scope};
use super::{MAX_FILE_SIZE, Mode, defaults};
use crate::{GATEWAY_GROUP, Kind, Object, ObjectKey, ObjectRef, VIPGATE_GROUP};

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 50_000;
/// Most problems of one file that are shown: who has more starts with these.
const MAX_PROBLEMS: usize = 1000;

/// What a file holds.
#[derive(Debug, Default)]
pub struct FileReading {
    /// Every document (and every item of a List) of a kind that we read, in the order of the file.
    pub items: Vec<Item>,
    /// Kinds that we do not read, each at its first document.
    pub skipped: Vec<Skipped>,
    /// What is wrong with the items, and documents that are no objects at all; the first thousand.
    pub problems: Vec<Problem>,
}

/// One document.
#[derive(Debug)]
pub struct Item {
    /// Position among all documents of the file, from 0 on.
    pub index: usize,
    /// Line it starts on.
    pub line: u32,
    /// What it says it is; `None` when it is too broken to tell.
    pub reference: Option<ObjectRef>,
    /// The object; `None` when it is refused (a problem says why).
    pub loaded: Option<Loaded>,
}

/// An object that passed every check.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The object, defaults applied.
    pub object: Object,
    /// Lines of its fields.
    pub lines: FieldLines,
}

/// A document of a kind that we do not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Path of the file.
    pub file: String,
    /// Line of the document.
    pub line: u32,
    /// `apiVersion` as written.
    pub api_version: String,
    /// `kind` as written.
    pub kind: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, api_version, kind, hint } = self;
        write!(f, "{file}:{line}: skipped: vipgate does not read {kind} ({api_version})")?;
        hint.iter().try_for_each(|hint| write!(f, ": {hint}"))
    }
}

/// Reads a manifest; `file` is its path, as problems shall name it.
///
/// # Errors
/// The file as a whole cannot be read: too large, or not UTF-8. Everything else is isolated to its
/// document and reported in [`FileReading::problems`].
pub fn read_manifest(file: &str, content: &[u8], mode: Mode) -> Result<FileReading, Problem> {
    if content.len() > MAX_FILE_SIZE {
        let message = format!("{} bytes: the most is {MAX_FILE_SIZE}; split it", content.len());
        return Err(Problem::of_file(file, message));
    }
    let text = std::str::from_utf8(content).map_err(|error| not_utf8(file, content, &error))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = tree::documents(text);
    if documents.len() > MAX_DOCUMENTS {
        let message = format!("more than {MAX_DOCUMENTS} documents: split the file");
        return Err(Problem::of_file(file, message));
    }
    let mut reader = Reader::new(file, mode);
    for (before, document) in documents {
        match tree::parse(document, before) {
            Ok(nodes) => nodes.iter().for_each(|node| reader.document(node)),
            Err(error) => {
                let problem = Problem::error(file, error.line, None, error.message);
                reader.broken(before + 1, None, problem);
            }
        }
    }
    Ok(reader.finish())
}

fn not_utf8(file: &str, content: &[u8], error: &std::str::Utf8Error) -> Problem {
    let offset = error.valid_up_to();
    let lines = content[..offset].iter().filter(|byte| **byte == b'\n').count();
    let line = u32::try_from(lines + 1).unwrap_or(u32::MAX);
    let message = format!("not UTF-8 text (byte {offset} of the file): save the file as UTF-8");
    Problem::error(file, line, None, message)
}

struct Reader<'f> {
    file: &'f str,
    mode: Mode,
    index: usize,
    /// Unknown kinds met so far.
    kinds: BTreeSet<(String, String)>,
    /// Problems beyond [`MAX_PROBLEMS`].
    unshown: usize,
    out: FileReading,
}

/// `apiVersion` and `kind` of a document that has both.
struct Header<'n> {
    api_version: &'n str,
    kind: &'n str,
}

impl<'f> Reader<'f> {
    fn new(file: &'f str, mode: Mode) -> Self {
        let (kinds, out) = (BTreeSet::new(), FileReading::default());
        Self { file, mode, index: 0, kinds, unshown: 0, out }
    }

    fn finish(mut self) -> FileReading {
        if self.unshown > 0 {
            let message = format!("{} more problems are not shown", self.unshown);
            self.out.problems.push(Problem::of_file(self.file, message));
        }
        self.out
    }

    fn document(&mut self, node: &Node<'_>) {
        if node.is_null() {
            return;
        }
        let header = match header(node) {
            Ok(header) => header,
            Err((line, message)) => {
                let problem = Problem::error(self.file, line, None, message);
                return self.broken(node.line, None, problem);
            }
        };
        if header.kind.ends_with("List")
            && let Some(items) = node.get("items")
            && let Value::List(items) = &items.node.value
        {
            return items.iter().for_each(|item| self.document(item));
        }
        match find_kind(&header) {
            Found::Served(kind, version) => self.object(kind, version, node),
            Found::Unserved(kind) => {
                let reference = reference(kind, node);
                let message = format!(
                    "apiVersion: `{}` is not read: write `apiVersion: {}`",
                    header.api_version,
                    choices(kind)
                );
                let line = node.get("apiVersion").map_or(node.line, |entry| entry.line);
                let problem = Problem::error(self.file, line, reference.clone(), message);
                self.broken(node.line, reference, problem);
            }
            Found::Nothing(hint) => self.skip(&header, node.line, hint),
        }
    }

    fn object(&mut self, kind: Kind, version: &str, node: &Node<'_>) {
        let reference = reference(kind, node);
        let context = Context {
            findings: RefCell::default(),
            unserved: unserved_fields(kind),
            secret: if kind == Kind::Secret { &["data", "stringData"] } else { &[] },
        };
        let object = typed(kind, node, &context);
        let mut findings = context.findings.into_inner();
        let object = match object {
            Ok(mut object) => {
                defaults::apply(&mut object, &mut findings);
                validate::check(&object, Scope { version, mode: self.mode }, &mut findings);
                Some(object)
            }
            Err(error) => {
                let error = in_words(kind, error);
                findings.error(error.path.unwrap_or_default(), error.message);
                None
            }
        };
        let lines = FieldLines::of(node);
        let object = object.filter(|_| !findings.refused());
        self.report(findings, &lines, reference.as_ref());
        let loaded = object.map(|object| Loaded { object, lines });
        self.item(node.line, reference, loaded);
    }

    fn report(&mut self, findings: Findings, lines: &FieldLines, object: Option<&ObjectRef>) {
        for finding in findings.into_list() {
            self.problem(Problem {
                file: self.file.to_owned(),
                line: lines.line(&finding.path),
                object: object.cloned(),
                severity: finding.severity,
                message: finding.text(),
            });
        }
    }

    fn problem(&mut self, problem: Problem) {
        if self.out.problems.len() < MAX_PROBLEMS {
            self.out.problems.push(problem);
        } else {
            self.unshown += 1;
        }
    }

    fn skip(&mut self, header: &Header<'_>, line: u32, hint: Option<String>) {
        self.index += 1;
        let skipped = Skipped {
            file: self.file.to_owned(),
            line,
            api_version: de::shorten(header.api_version, false),
            kind: de::shorten(header.kind, false),
            hint,
        };
        if self.kinds.insert((skipped.api_version.clone(), skipped.kind.clone())) {
            self.out.skipped.push(skipped);
        }
    }

    fn broken(&mut self, line: u32, reference: Option<ObjectRef>, problem: Problem) {
        self.problem(problem);
        self.item(line, reference, None);
    }

    fn item(&mut self, line: u32, reference: Option<ObjectRef>, loaded: Option<Loaded>) {
        let index = self.index;
        self.index += 1;
        self.out.items.push(Item { index, line, reference, loaded });
    }
}

fn header<'n>(node: &'n Node<'_>) -> Result<Header<'n>, (u32, String)> {
    if !matches!(node.value, Value::Map(_)) {
        let message = "not an object: a document starts with `apiVersion:` and `kind:`";
        return Err((node.line, message.to_owned()));
    }
    let text = |key: &'static str| node.get(key).and_then(|entry| entry.node.text());
    let line = |key: &'static str| node.get(key).map_or(node.line, |entry| entry.line);
    let Some(kind) = text("kind") else {
        let message = match misspelled(node, "kind") {
            Some(key) => return Err((key.line, format!("{}: unknown: write `kind:`", key.key))),
            None => "kind: missing: write it, such as `kind: Gateway`".to_owned(),
        };
        return Err((line("kind"), message));
    };
    let Some(api_version) = text("apiVersion") else {
        if let Some(key) = misspelled(node, "apiVersion") {
            return Err((key.line, format!("{}: unknown: write `apiVersion:`", key.key)));
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
fn reference(kind: Kind, node: &Node<'_>) -> Option<ObjectRef> {
    let metadata = &node.get("metadata")?.node;
    let field = |key| metadata.get(key).and_then(|entry| entry.node.text());
    let name = field("name").filter(|name| !name.is_empty())?;
    let namespace = match field("namespace") {
        _ if !kind.is_namespaced() => "",
        None | Some("") => defaults::NAMESPACE,
        Some(namespace) => namespace,
    };
    Some(ObjectRef { kind, key: ObjectKey::new(namespace, name) })
}

enum Found<'n> {
    /// A kind that we read, in a version that we read.
    Served(Kind, &'n str),
    /// A kind that we read, in another version.
    Unserved(Kind),
    /// Something else; perhaps a word on what was meant.
    Nothing(Option<String>),
}

fn find_kind<'n>(header: &Header<'n>) -> Found<'n> {
    let (group, version) = header.api_version.split_once('/').unwrap_or(("", header.api_version));
    let same_group = |kind: &Kind| kind.group() == group;
    let same_name = |kind: &Kind| kind.name() == header.kind;
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| same_group(kind) && same_name(kind)) {
        let served = kind.versions().contains(&version);
        return if served { Found::Served(kind, version) } else { Found::Unserved(kind) };
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

fn choices(kind: Kind) -> String {
    let group = kind.group();
    let full = |version: &&str| {
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    };
    kind.versions().iter().map(full).collect::<Vec<_>>().join("` or `")
}

fn typed(kind: Kind, node: &Node<'_>, context: &Context<'_>) -> Result<Object, de::Error> {
    match kind {
        Kind::GatewayClass => {
            de::decode::<crate::gateway::GatewayClass>(node, context).map(Into::into)
        }
        Kind::Gateway => de::decode::<crate::gateway::Gateway>(node, context).map(Into::into),
        Kind::TcpRoute => de::decode::<crate::gateway::TcpRoute>(node, context).map(Into::into),
        Kind::ReferenceGrant => {
            de::decode::<crate::gateway::ReferenceGrant>(node, context).map(Into::into)
        }
        Kind::Namespace => de::decode::<crate::k8s::Namespace>(node, context).map(Into::into),
        Kind::Service => de::decode::<crate::k8s::Service>(node, context).map(Into::into),
        Kind::EndpointSlice => {
            de::decode::<crate::k8s::EndpointSlice>(node, context).map(Into::into)
        }
        Kind::Secret => de::decode::<crate::k8s::Secret>(node, context).map(Into::into),
        Kind::IpAddressPool => {
            de::decode::<crate::vipgate::IpAddressPool>(node, context).map(Into::into)
        }
        Kind::L2Advertisement => {
            de::decode::<crate::vipgate::L2Advertisement>(node, context).map(Into::into)
        }
        Kind::Backend => de::decode::<crate::vipgate::Backend>(node, context).map(Into::into),
    }
}

/// Replaces messages of the libraries that would not help their reader.
fn in_words(kind: Kind, mut error: de::Error) -> de::Error {
    let path = error.path.as_deref().unwrap_or_default();
    if kind == Kind::Secret && path.starts_with("data.") {
        error.message = "is not base64: put plain text under `stringData` instead".to_owned();
    } else if path == "metadata.creationTimestamp" {
        error.message = "must be a time, such as 2026-01-31T12:00:00Z".to_owned();
    }
    error
}

/// Fields that exist in the API of the kind and that this program does not obey.
fn unserved_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Gateway => &[
            "spec.allowedListeners",
            "spec.backendTLS",
            "spec.defaultScope",
            "spec.tls",
            "spec.listeners[].tls.frontendValidation",
        ],
        Kind::TcpRoute => &["spec.useDefaultGateways"],
        Kind::IpAddressPool => &["spec.serviceAllocation.serviceSelectors"],
        Kind::L2Advertisement => &["spec.serviceSelectors", "spec.preferredNodeSelectors"],
        _ => &[],
    }
}
