//! The book: its entries are the pages there are.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::of_project;
use crate::pages::{self, OUTSIDE, Page, SUMMARY, resolved};

/// The pages that the book has, in its order.
pub(crate) fn entries() -> Result<Vec<String>> {
    let links = Page::read(SUMMARY)?.links();
    Ok(links.iter().map(|(_, link)| resolved(SUMMARY, link)).collect())
}

#[test]
fn every_page_is_in_the_book_once_and_every_entry_is_a_page() -> Result<()> {
    let entries = entries()?;
    let once: BTreeSet<&String> = entries.iter().collect();
    assert_eq!(once.len(), entries.len(), "{SUMMARY} has an entry twice");
    let pages = pages::all()?;
    let pages: BTreeSet<&String> = pages.keys().filter(|path| *path != OUTSIDE[0]).collect();
    let left_out: Vec<_> = pages.difference(&once).collect();
    assert!(left_out.is_empty(), "{SUMMARY} does not have {left_out:?}");
    let dead: Vec<_> = once.difference(&pages).collect();
    assert!(dead.is_empty(), "{SUMMARY} has {dead:?}, which are no pages");
    Ok(())
}

/// Alerts lead to the book as it is built.
#[test]
fn what_alerts_link_to_is_in_the_book() -> Result<()> {
    let alerts = std::fs::read_to_string(of_project("charts/vipgate/files/alerts.yaml"))?;
    let links = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: "));
    let links: Vec<&str> = links.collect();
    assert!(links.len() >= 12, "{links:?}");
    let entries = entries()?;
    for link in links {
        let place = link.strip_prefix("https://vipgate.dev/").context("of the project")?;
        let (page, anchor) = place.split_once(".html#").with_context(|| link.to_owned())?;
        let path = format!("docs/{page}.md");
        assert!(entries.contains(&path), "{link}: {path} is not in the book");
        assert!(Page::read(&path)?.anchors().contains(anchor), "{link}: no such heading");
    }
    Ok(())
}
