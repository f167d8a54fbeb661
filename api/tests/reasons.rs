//! `docs/reasons.md` says what every reason means, and is made from the code.

use std::path::Path;

use vipgate_api::{ConditionType, Reason};

/// Set to write the page anew instead of comparing.
const BLESS: &str = "BLESS";

fn page() -> String {
    let mut page = "# Reasons\n\n\
        Made from `api/src/condition/meaning.rs`; to make it again: \
        `BLESS=1 cargo test -p vipgate-api --test reasons`.\n\n\
        A condition says *whether* (its status), *why* for programs (its reason, stable, also the \
        reason of the event that tells of the change) and *why* for people (its message, which may \
        change between releases). How conditions belong together is in [status.md](status.md).\n\n\
        | reason | meaning |\n|---|---|\n"
        .to_owned();
    let rows = Reason::ALL.iter().map(|reason| format!("| `{reason}` | {} |\n", reason.meaning()));
    page.extend(rows);
    page
}

#[test]
fn the_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md");
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/reasons.md is stale: run this test with {BLESS}=1");
}

/// serde names the variants that it knows when it is given one that it does not.
fn variants<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let Err(error) = serde_json::from_str::<T>("\"\"") else { panic!("it is no variant") };
    let text = error.to_string();
    text.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_lists_are_complete_and_every_reason_is_camel_case_with_a_sentence() {
    let names: Vec<String> = Reason::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(names, variants::<Reason>());
    let types: Vec<String> = ConditionType::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(types, variants::<ConditionType>());
    for reason in Reason::ALL {
        let (name, meaning) = (reason.to_string(), reason.meaning());
        assert!(name.chars().all(char::is_alphanumeric) && name.starts_with(char::is_uppercase));
        assert!(meaning.ends_with('.') && meaning.len() > 20, "{name}: {meaning}");
        assert!(!meaning.contains('|'), "{name}: it stands in a table");
    }
}
