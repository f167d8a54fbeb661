//! The pages that people read, as the book's renderer sees them: their links, anchors and fenced blocks.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::of_project;

/// Where the entries of the book are.
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";
/// Those outside of `docs/`. The first is no part of the book: it is read where the code is.
pub(crate) const OUTSIDE: [&str; 3] = ["README.md", "charts/README.md", "kind-e2e/README.md"];

/// A page, by its path in the project.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block.
pub(crate) struct Fence {
    /// What stands after the fence.
    pub(crate) info: String,
    pub(crate) text: String,
    /// The line of the page that its fence is on.
    pub(crate) line: usize,
    /// Where it ends in the page.
    pub(crate) end: usize,
}

impl Page {
    pub(crate) fn read(path: &str) -> Result<Self> {
        let text = std::fs::read_to_string(of_project(path)).with_context(|| path.to_owned())?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// As mdBook is set up to.
    fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_HEADING_ATTRIBUTES;
        Parser::new_ext(&self.text, options).into_offset_iter()
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// Where it links to, with lines.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let targets = self.events().filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((self.line_of(range.start), dest_url.into_string()))
            }
            _ => None,
        });
        targets.collect()
    }

    /// The ids of its headings, as mdBook gives them: letters, digits, `-` and `_` of what is written, in
    /// small letters; one that is there already gets a number.
    pub(crate) fn anchors(&self) -> HashSet<String> {
        let (mut used, mut heading) = (HashSet::new(), None);
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let id = anchor(&heading.take().unwrap_or_default());
                    let numbered = (1..).map(|number| format!("{id}-{number}"));
                    let free = [id.clone()].into_iter().chain(numbered);
                    let free = free.filter(|id| !used.contains(id)).take(1).collect::<Vec<_>>();
                    used.extend(free);
                }
                _ => {}
            }
        }
        used
    }

    pub(crate) fn fences(&self) -> Vec<Fence> {
        let (mut fences, mut open) = (Vec::new(), None);
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let line = self.line_of(range.start);
                    let info = info.into_string();
                    open = Some(Fence { info, text: String::new(), line, end: range.end });
                }
                Event::Text(text) => {
                    if let Some(fence) = &mut open {
                        fence.text.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => fences.extend(open.take()),
                _ => {}
            }
        }
        fences
    }
}

fn anchor(heading: &str) -> String {
    let small = heading.trim().to_lowercase();
    let kept = small.chars().filter_map(|one| match one {
        '_' | '-' => Some(one),
        one if one.is_alphanumeric() => Some(one),
        one if one.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// All pages, by path.
pub(crate) fn all() -> Result<BTreeMap<String, Page>> {
    let mut paths = OUTSIDE.map(str::to_owned).to_vec();
    below("docs", &mut paths)?;
    paths.into_iter().map(|path| Ok((path.clone(), Page::read(&path)?))).collect()
}

fn below(directory: &str, paths: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(of_project(directory)).with_context(|| directory.to_owned())? {
        let entry = entry?;
        let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            below(&path, paths)?;
        } else if path.ends_with(".md") && path != SUMMARY {
            paths.push(path);
        }
    }
    Ok(())
}

/// What a relative link of a page leads to, as a path of the project.
pub(crate) fn resolved(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in Path::new(link).components() {
        match part.as_os_str().to_str().unwrap_or_default() {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn anchors_are_those_of_the_book() {
    let page = |text: &str| Page { path: "x.md".to_owned(), text: text.to_owned() };
    let anchors = page("# A `b` (c), d_e-f\n\n## A\n\n## A\n\n```text\n# no\n```\n").anchors();
    let expected = ["a-b-c-d_e-f", "a", "a-1"].map(str::to_owned);
    assert_eq!(anchors, HashSet::from(expected));
    assert_eq!(anchor("What it costs: 2 × 3"), "what-it-costs-2--3");
    assert_eq!(resolved("docs/a/b.md", "../../c/./d.md"), "c/d.md");
}
