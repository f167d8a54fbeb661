//! The table of causes and the example in `docs/why.md`, made from the code.

use std::path::Path;

use super::cases::CASES;
use super::{BLESS, answer};
use crate::why::cause::Cause;

/// What stands before and behind the table, and the example.
const TABLE: [&str; 2] =
    ["<!-- causes: made from cli/src/why/cause/table.rs -->\n", "<!-- end of causes -->"];
const EXAMPLE: [&str; 2] =
    ["<!-- example: cli/src/why/tests/golden/no-endpoints.txt -->\n", "<!-- end of example -->"];

/// The page with this between two marks.
fn with(page: &str, [start, end]: [&str; 2], fresh: &str) -> String {
    let (before, rest) = page.split_once(start).expect("the mark before");
    let (_, after) = rest.split_once(end).expect("the mark behind");
    format!("{before}{start}{fresh}{end}{after}")
}

fn example() -> String {
    let case = CASES.iter().find(|case| case.cause == Cause::NoEndpoints).unwrap();
    format!("```text\n{}```\n", answer(case))
}

fn table() -> String {
    let mut table =
        "| link | cause | meaning | what mends it | command in a cluster | on a host |\n|---|---|---|---|---|---|\n".to_owned();
    for cause in Cause::ALL {
        let row = cause.row();
        let named = |text: &str| {
            text.replace("{edit}", "kubectl edit OBJECT")
                .replace("{get}", "kubectl get -o yaml OBJECT")
                .replace("{ns}", "NAMESPACE")
                .replace("{name}", "NAME")
                .replace("{install}", "vipgate-system")
                .replace("{address}", "ADDRESS")
                .replace("{port}", "PORT")
                .replace("{node}", "NODE")
        };
        let (link, meaning) = (row.stage.name(), row.meaning);
        let code = |text: &str| match text {
            "" => String::new(),
            text => format!("`{}`", named(text)),
        };
        let (change, command) = (named(row.change), code(row.command));
        let on_host = row.on_host.map_or("edit the manifest".to_owned(), code);
        table +=
            &format!("| {link} | `{cause}` | {meaning} | {change} | {command} | {on_host} |\n");
    }
    table
}

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/why.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let fresh = with(&with(&page, TABLE, &table()), EXAMPLE, &example());
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &fresh).unwrap();
        return;
    }
    assert!(page == fresh, "docs/why.md is stale: run this test with {BLESS}=1");
}

#[test]
fn every_row_is_complete_and_in_the_order_of_the_chain() {
    let mut last = None;
    for cause in Cause::ALL {
        let row = cause.row();
        assert!(row.meaning.ends_with('.') && row.meaning.len() > 20, "{cause}: {}", row.meaning);
        let on_host_alone = matches!(cause, Cause::ManifestInvalid | Cause::ServicesNeedCluster);
        assert!(row.change.len() > 5 && row.command.is_empty() == on_host_alone, "{cause}");
        let texts = [row.meaning, row.change, row.command];
        assert!(texts.iter().all(|text| !text.contains('|')), "{cause}: it stands in a table");
        assert!(last.is_none_or(|last| last <= row.stage), "{cause} stands out of order");
        last = Some(row.stage);
    }
}
