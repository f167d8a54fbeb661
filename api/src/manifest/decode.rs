//! From the bytes of a file to objects: which kind, which name, typed, defaulted and checked.

mod kinds;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use super::de::{self, Context};
use super::path::FieldLines;
use super::problem::{Findings, Problem};
use super::tree::{self, Node, Value};
use super::validate::{self, Scope};
use super::{MAX_FILE_SIZE, Mode, defaults};
use crate::{Kind, Object, ObjectRef};
use kinds::{Found, Header};

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
    /// The version of the kind that it is written in.
    pub version: &'static str,
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
    let mut reader = FileReader::new(file, mode);
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

/// Reads the documents of one file, one after the other.
struct FileReader<'f> {
    file: &'f str,
    mode: Mode,
    index: usize,
    /// Unknown kinds met so far.
    kinds: BTreeSet<(String, String)>,
    /// Problems beyond [`MAX_PROBLEMS`].
    unshown: usize,
    out: FileReading,
}

impl<'f> FileReader<'f> {
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
        let header = match kinds::header(node) {
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
        match kinds::find_kind(&header) {
            Found::Served(kind, version) => self.object(kind, version, node),
            Found::Unserved(kind) => {
                let reference = kinds::reference(kind, node);
                let message = format!(
                    "apiVersion: `{}` is not read: write `apiVersion: {}`",
                    de::shorten(header.api_version, false),
                    kinds::choices(kind)
                );
                let line = node.get("apiVersion").map_or(node.line, |entry| entry.line);
                let problem = Problem::error(self.file, line, reference.clone(), message);
                self.broken(node.line, reference, problem);
            }
            Found::Nothing(hint) => self.skip(&header, node.line, hint),
        }
    }

    fn object(&mut self, kind: Kind, version: &'static str, node: &Node<'_>) {
        let reference = kinds::reference(kind, node);
        let context = Context {
            findings: RefCell::default(),
            unserved: kinds::unserved_fields(kind),
            secret: if kind == Kind::Secret { &["data", "stringData"] } else { &[] },
        };
        let object = kinds::typed(kind, node, &context);
        let mut findings = context.findings.into_inner();
        let object = match object {
            Ok(mut object) => {
                defaults::apply(&mut object, &mut findings);
                validate::check(&object, Scope { version, mode: self.mode }, &mut findings);
                Some(object)
            }
            Err(error) => {
                let error = kinds::in_words(kind, error);
                findings.error(error.path.unwrap_or_default(), error.message);
                None
            }
        };
        let lines = FieldLines::of(node);
        let object = object.filter(|_| !findings.refused());
        self.report(findings, &lines, reference.as_ref());
        let loaded = object.map(|object| Loaded { object, version, lines });
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
