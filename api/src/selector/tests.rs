//! Which labels a selector selects.

use super::{Labels, matches};
use crate::k8s::{LabelSelector, LabelSelectorRequirement};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn exact(pairs: &[(&str, &str)]) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(pairs)), match_expressions: None }
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    let requirement = LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
    };
    LabelSelector { match_labels: None, match_expressions: Some(vec![requirement]) }
}

#[test]
fn an_empty_selector_selects_everything() {
    for selector in [LabelSelector::default(), exact(&[])] {
        assert!(matches(&selector, &labels(&[])));
        assert!(matches(&selector, &labels(&[("team", "web")])));
    }
}

#[test]
fn labels_must_all_be_there_with_their_values() {
    let selector = exact(&[("team", "web"), ("tier", "front")]);
    for (have, selected) in [
        (labels(&[("team", "web"), ("tier", "front"), ("more", "x")]), true),
        (labels(&[("team", "web")]), false),
        (labels(&[("team", "web"), ("tier", "back")]), false),
        (labels(&[]), false),
    ] {
        assert_eq!(matches(&selector, &have), selected, "{have:?}");
    }
    assert!(!matches(&exact(&[("team", "")]), &labels(&[])), "an empty value is not absence");
    assert!(matches(&exact(&[("team", "")]), &labels(&[("team", "")])));
}

#[test]
fn each_operator_on_present_other_and_absent_labels() {
    let (web, ops, none) = (labels(&[("team", "web")]), labels(&[("team", "ops")]), labels(&[]));
    for (operator, values, on_web, on_ops, on_none) in [
        ("In", &["web", "db"][..], true, false, false),
        ("NotIn", &["web", "db"][..], false, true, true),
        ("Exists", &[][..], true, true, false),
        ("DoesNotExist", &[][..], false, false, true),
        ("In", &[][..], false, false, false),
        ("NotIn", &[][..], true, true, true),
        ("in", &["web"][..], false, false, false),
        ("", &["web"][..], false, false, false),
    ] {
        let selector = expression("team", operator, values);
        let selected = [&web, &ops, &none].map(|have| matches(&selector, have));
        assert_eq!(selected, [on_web, on_ops, on_none], "{operator} {values:?}");
    }
}

#[test]
fn labels_and_expressions_must_both_hold() {
    let mut selector = expression("tier", "Exists", &[]);
    selector.match_labels = Some(labels(&[("team", "web")]));
    assert!(matches(&selector, &labels(&[("team", "web"), ("tier", "x")])));
    assert!(!matches(&selector, &labels(&[("team", "web")])));
    assert!(!matches(&selector, &labels(&[("tier", "x")])));
}
