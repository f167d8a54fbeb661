//! From parser events to trees, with the limits kept on the way.

use std::borrow::Cow;
use std::collections::HashSet;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::syntax::words;
use super::{
    Entry, MAX_DEPTH, MAX_NODES, MAX_SCALAR, Node, Scalar, ScalarKind, SyntaxError, Value,
};
use crate::manifest::de::shorten;

/// Mappings up to this size look for duplicate keys by comparing; larger ones keep a set.
const SMALL: usize = 16;

/// Reads every document of a text that has `before` lines before it in its file.
///
/// # Errors
/// Text that is not YAML, or that exceeds a limit of this module.
pub(in crate::manifest) fn parse(text: &str, before: u32) -> Result<Vec<Node<'_>>, SyntaxError> {
    // One more than our own limit, which has the better message.
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    };
    let line = |at: &Marker| before.saturating_add(u32::try_from(at.line()).unwrap_or(u32::MAX));
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event
            .map_err(|error| SyntaxError { line: line(error.marker()), message: words(&error) })?;
        builder.take(event, line(&span.start))?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder<'a> {
    documents: Vec<Node<'a>>,
    open: Vec<Open<'a>>,
    nodes: usize,
}

/// A list or mapping whose end has not come yet.
struct Open<'a> {
    line: u32,
    content: Content<'a>,
}

enum Content<'a> {
    List(Vec<Node<'a>>),
    Map { entries: Vec<Entry<'a>>, key: Option<(Cow<'a, str>, u32)>, seen: HashSet<Cow<'a, str>> },
}

impl<'a> Builder<'a> {
    fn take(&mut self, event: Event<'a>, line: u32) -> Result<(), SyntaxError> {
        match event {
            Event::DocumentStart(..) => self.nodes = 0,
            Event::Scalar(text, style, _, tag) => {
                self.count(line)?;
                let scalar = scalar(text, style, tag.as_deref(), line)?;
                self.place(Node { line, value: Value::Scalar(scalar) })?;
            }
            Event::SequenceStart(_, _, tag) => {
                refuse_tag(tag.as_deref(), "seq", line)?;
                self.open(line, Content::List(Vec::new()))?;
            }
            Event::MappingStart(_, _, tag) => {
                refuse_tag(tag.as_deref(), "map", line)?;
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.open(line, Content::Map { entries, key: None, seen })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return Err(refused(line, "aliases (`*name`) are not read: write the value out"));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, line: u32) -> Result<(), SyntaxError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!(
                "more than {MAX_NODES} values in one document: split it into several, with a \
                 line `---` between them"
            );
            return Err(SyntaxError { line, message });
        }
        Ok(())
    }

    fn open(&mut self, line: u32, content: Content<'a>) -> Result<(), SyntaxError> {
        self.count(line)?;
        if self.open.len() == MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels: no manifest needs that");
            return Err(SyntaxError { line, message });
        }
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(refused(line, "a list or mapping as a key: a key has to be text"));
        }
        self.open.push(Open { line, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), SyntaxError> {
        let Open { line, content } = self.open.pop().expect("the parser balances start and end");
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.place(Node { line, value })
    }

    /// Puts a finished node where it belongs: into the open list or mapping, or on the top.
    fn place(&mut self, node: Node<'a>) -> Result<(), SyntaxError> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, seen }) => match key.take() {
                Some((key, line)) => entries.push(Entry { key, line, node }),
                None => *key = Some(new_key(node, entries, seen)?),
            },
        }
        Ok(())
    }
}

fn new_key<'a>(
    node: Node<'a>,
    entries: &[Entry<'a>],
    seen: &mut HashSet<Cow<'a, str>>,
) -> Result<(Cow<'a, str>, u32), SyntaxError> {
    let line = node.line;
    let Value::Scalar(Scalar { text: key, .. }) = node.value else {
        return Err(refused(line, "a list or mapping as a key: a key has to be text"));
    };
    if entries.len() == SMALL {
        seen.extend(entries.iter().map(|entry| entry.key.clone()));
    }
    let duplicate = if entries.len() < SMALL {
        entries.iter().any(|entry| entry.key == key)
    } else {
        !seen.insert(key.clone())
    };
    if duplicate {
        let first = entries.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.line);
        let message = format!(
            "the key `{}` is there twice, first on line {first}: keep one of them",
            shorten(&key, false)
        );
        return Err(SyntaxError { line, message });
    }
    Ok((key, line))
}

fn scalar<'a>(
    text: Cow<'a, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: u32,
) -> Result<Scalar<'a>, SyntaxError> {
    if text.len() > MAX_SCALAR {
        let message = format!("a text of {} bytes: the most is {MAX_SCALAR}", text.len());
        return Err(SyntaxError { line, message });
    }
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => Scalar::plain(text),
            _ => Scalar::quoted(text),
        });
    };
    // `!` and `!!str` make text of anything; the other core tags must agree with the look.
    let tagged = match tag.core_suffix() {
        Some("str") => Some(Scalar::quoted(text)),
        None if tag.handle().is_empty() && tag.suffix() == "!" || tag.original() == "!" => {
            Some(Scalar::quoted(text))
        }
        Some(suffix) => Some(Scalar::plain(text)).filter(|scalar| agrees(suffix, scalar.kind)),
        None => None,
    };
    tagged.ok_or_else(|| refuse_unknown_tag(tag, line))
}

fn agrees(suffix: &str, kind: ScalarKind) -> bool {
    match kind {
        ScalarKind::Null => suffix == "null",
        ScalarKind::Bool(_) => suffix == "bool",
        ScalarKind::Int(_) => matches!(suffix, "int" | "float"),
        ScalarKind::Float(_) => suffix == "float",
        ScalarKind::Plain | ScalarKind::Quoted => false,
    }
}

fn refuse_tag(tag: Option<&Tag>, core: &str, line: u32) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(core) => Err(refuse_unknown_tag(tag, line)),
        _ => Ok(()),
    }
}

fn refuse_unknown_tag(tag: &Tag, line: u32) -> SyntaxError {
    let message =
        format!("the tag `{}` does not fit here: leave it out", shorten(&tag.original(), false));
    SyntaxError { line, message }
}

fn refused(line: u32, message: &str) -> SyntaxError {
    SyntaxError { line, message: message.to_owned() }
}
