//! Links lead somewhere, in the project and in the built book alike.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;

use crate::book;
use crate::of_project;
use crate::pages::{self, OUTSIDE, resolved};

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() -> Result<()> {
    let pages = pages::all()?;
    let anchors: BTreeMap<&String, HashSet<String>> =
        pages.iter().map(|(path, page)| (path, page.anchors())).collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for page in pages.values() {
        for (line, link) in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => resolved(&page.path, file),
            };
            let place = format!("{}:{line}: {link}", page.path);
            if !of_project(&target).exists() {
                wrong.push(format!("{place}: no such file"));
            } else if !anchor.is_empty()
                && !anchors.get(&target).is_some_and(|known| known.contains(anchor))
            {
                wrong.push(format!("{place}: no such heading"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 200, "{seen}");
    Ok(())
}

/// A web server shows no directory, and a page only where the book has it. Files that are no pages are
/// brought along (`scripts/book.sh`).
#[test]
fn pages_of_the_book_link_to_files_that_it_has() -> Result<()> {
    let entries = book::entries()?;
    let mut wrong = Vec::new();
    for page in pages::all()?.values().filter(|page| page.path != OUTSIDE[0]) {
        for (line, link) in page.links().into_iter().filter(|(_, link)| !link.contains("://")) {
            let (file, _) = link.split_once('#').unwrap_or((&link, ""));
            let target = resolved(&page.path, file);
            let place = format!("{}:{line}: {link}", page.path);
            if file.is_empty() {
                continue;
            }
            if of_project(&target).is_dir() {
                wrong.push(format!("{place}: a directory; link to a file in it"));
            } else if target.ends_with(".md") && !entries.contains(&target) {
                wrong.push(format!("{place}: a page that is not in the book"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
