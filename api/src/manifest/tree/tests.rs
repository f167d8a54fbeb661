//! Scalars of the core schema, lines, and where documents end.

use super::{Node, ScalarKind, Value, documents, parse};

fn only(text: &str) -> Node<'_> {
    let mut nodes = parse(text, 0).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(nodes.len(), 1, "{text}");
    nodes.remove(0)
}

fn kind(text: &str) -> ScalarKind {
    let Value::Scalar(scalar) = only(text).value else { panic!("{text} is no scalar") };
    scalar.kind
}

#[test]
fn plain_scalars_mean_what_yaml_1_2_says() {
    use ScalarKind::{Bool, Float, Int, Null, Plain, Quoted};
    for (text, want) in [
        ("null", Null),
        ("~", Null),
        ("Null", Null),
        ("nULL", Plain),
        ("true", Bool(true)),
        ("FALSE", Bool(false)),
        ("tRue", Plain),
        ("yes", Plain),
        ("off", Plain),
        ("0", Int(0)),
        ("-0", Int(0)),
        ("80", Int(80)),
        ("+80", Int(80)),
        ("-1", Int(-1)),
        ("0x1F", Int(31)),
        ("0o17", Int(15)),
        ("0x-1", Plain),
        ("0755", Plain),
        ("9223372036854775807", Int(i64::MAX)),
        ("9223372036854775808", Float(9_223_372_036_854_775_808.0)),
        ("1.5", Float(1.5)),
        (".5", Float(0.5)),
        ("5.", Float(5.0)),
        ("1e3", Float(1000.0)),
        ("-.inf", Float(f64::NEG_INFINITY)),
        ("inf", Plain),
        ("nan", Plain),
        ("infinity", Plain),
        ("1.2.3", Plain),
        ("192.0.2.1", Plain),
        ("12:30", Plain),
        ("1_000", Plain),
        ("2026-01-31", Plain),
        ("\"80\"", Quoted),
        ("'true'", Quoted),
        ("!!str 80", Quoted),
        ("! 80", Quoted),
        ("!!int 80", Int(80)),
        ("|\n  80\n", Quoted),
    ] {
        assert_eq!(kind(text), want, "{text}");
    }
    assert!(matches!(kind(".nan"), ScalarKind::Float(number) if number.is_nan()));
}

#[test]
fn words_that_kubectl_reads_otherwise_are_told_apart() {
    for (text, ambiguous, boolean) in [
        ("yes", true, Some(true)),
        ("Off", true, Some(false)),
        ("'yes'", false, None),
        ("y", false, None),
        ("0755", true, None),
        ("'0755'", false, None),
        ("0", false, None),
        ("text", false, None),
    ] {
        let Value::Scalar(scalar) = only(text).value else { panic!("{text}") };
        assert_eq!(scalar.is_ambiguous(), ambiguous, "{text}");
        assert_eq!(scalar.as_yaml_1_1_bool(), boolean, "{text}");
    }
}

#[test]
fn every_node_knows_its_line() {
    let node = only("# comment\na: 1\nb:\n- x\n-\n  y: 2\nc: {d: [\n  e]}\n");
    let line = |key: &str| node.get(key).unwrap().line;
    assert_eq!((line("a"), line("b"), line("c")), (2, 3, 7));
    let Value::List(items) = &node.get("b").unwrap().node.value else { panic!() };
    assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [4, 6]);
    let d = node.get("c").unwrap().node.get("d").unwrap();
    let Value::List(items) = &d.node.value else { panic!() };
    assert_eq!((d.line, items[0].line), (7, 8));
    assert_eq!(parse("a: 1", 41).unwrap()[0].line, 42, "lines before count");
    assert_eq!(parse("a: [", 41).unwrap_err().line, 42);
}

#[test]
fn a_duplicate_key_is_found_in_mappings_of_any_size() {
    for size in [1, 2, 15, 16, 17, 18, 100] {
        let keys: String = (0..size).map(|index| format!("k{index}: x\n")).collect();
        assert!(parse(&keys, 0).is_ok(), "{size}");
        for again in [0, size / 2, size - 1] {
            let error = parse(&format!("{keys}k{again}: y\n"), 0).unwrap_err();
            let want = format!("`k{again}` is there twice, first on line {}", again + 1);
            assert!(error.message.contains(&want), "{size}: {error}");
            assert_eq!(error.line, size + 1);
        }
    }
    assert!(parse("a: 1\n\"a\": 2\n", 0).is_err(), "quotes make no other key");
}

#[test]
fn nesting_may_go_to_the_limit_and_no_further() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(super::MAX_DEPTH), 0).is_ok());
    assert!(parse(&nested(super::MAX_DEPTH + 1), 0).is_err());
}

#[test]
fn documents_end_where_yaml_says() {
    for (text, want) in [
        ("", vec![]),
        ("# nothing\n\n", vec![]),
        ("---\n---\n# x\n", vec![]),
        ("a: 1\n", vec![(0, "a: 1\n")]),
        ("a: 1\n---\nb: 2", vec![(0, "a: 1\n"), (1, "---\nb: 2")]),
        ("# x\n---\na: 1\n", vec![(0, "# x\n---\na: 1\n")]),
        ("%YAML 1.2\n---\na: 1\n", vec![(0, "%YAML 1.2\n---\na: 1\n")]),
        ("--- {a: 1}\n--- b\n", vec![(0, "--- {a: 1}\n"), (1, "--- b\n")]),
        ("a: |\n  ---\n  x\n---b: 1\n", vec![(0, "a: |\n  ---\n  x\n---b: 1\n")]),
        ("a: 1\r\n---\r\nb: 2\r\n", vec![(0, "a: 1\r\n"), (1, "---\r\nb: 2\r\n")]),
    ] {
        assert_eq!(documents(text), want, "{text:?}");
    }
}
