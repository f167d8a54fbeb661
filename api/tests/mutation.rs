//! Good manifests with random damage: nothing panics, what is still taken on is what it says it
//! is, and repairing the file brings everything back as it was.

use proptest::prelude::*;
use vipgate_api::manifest::{File, Listing, Mode, Snapshot, Update, read_manifest};

const GOOD: &str = include_str!("good/all-kinds.yaml");
const OBJECTS: usize = 24;

#[derive(Clone, Debug)]
enum Damage {
    Remove { at: usize, length: usize },
    Repeat { at: usize, length: usize, times: usize },
    Insert { at: usize, text: String },
    Truncate { at: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0..GOOD.len();
    // What means something to YAML, to the types or to the checks.
    let token = prop_oneof![
        prop::sample::select(vec![
            "\n",
            " ",
            "  ",
            "\t",
            ": ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            "'",
            "#",
            "&a ",
            "*a ",
            "!!int ",
            "|\n",
            "---\n",
            "...\n",
            "%",
            "null",
            "~",
            "true",
            "yes",
            "0",
            "-1",
            "70000",
            "1e9",
            "99999999999999999999",
            ".inf",
            "0x10",
            "name: ",
            "port: ",
            "\u{feff}",
            "\0",
            "\r",
            "ä",
            "\u{1F600}",
            "/",
            "-",
            "..",
            "spec: {}\n",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,8}",
    ];
    prop_oneof![
        (at.clone(), 1..40_usize).prop_map(|(at, length)| Damage::Remove { at, length }),
        (at.clone(), 1..60_usize, 1..4_usize).prop_map(|(at, length, times)| Damage::Repeat {
            at,
            length,
            times
        }),
        (at.clone(), token).prop_map(|(at, text)| Damage::Insert { at, text }),
        at.prop_map(|at| Damage::Truncate { at }),
    ]
}

fn damaged(damages: &[Damage]) -> Vec<u8> {
    let mut bytes = GOOD.as_bytes().to_vec();
    for damage in damages {
        let range = |at: usize, length: usize| at.min(bytes.len())..(at + length).min(bytes.len());
        match damage {
            Damage::Remove { at, length } => {
                let range = range(*at, *length);
                bytes.drain(range);
            }
            Damage::Repeat { at, length, times } => {
                let range = range(*at, *length);
                let (end, piece) = (range.end, bytes[range].repeat(*times));
                bytes.splice(end..end, piece);
            }
            Damage::Insert { at, text } => {
                let at = (*at).min(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            Damage::Truncate { at } => bytes.truncate(*at),
        }
    }
    bytes
}

fn take_in(snapshot: &mut Snapshot, content: Vec<u8>) -> Update {
    let files = vec![File { path: "a.yaml".to_owned(), content: Ok(content) }];
    snapshot.update(Listing { files, ..Listing::default() })
}

/// Everything in use, without generations and ages.
fn in_use(snapshot: &Snapshot) -> Vec<String> {
    let show = |object: &vipgate_api::Object| {
        let mut object = object.clone();
        object.metadata_mut().generation = None;
        format!("{object:?}")
    };
    snapshot.objects().map(|(_, held)| show(&held.object)).collect()
}

#[test]
fn the_good_manifest_is_good() {
    let reading = read_manifest("a.yaml", GOOD.as_bytes(), Mode::Standalone).unwrap();
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    assert_eq!(reading.items.iter().filter(|item| item.loaded.is_some()).count(), OBJECTS);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_spoils_only_itself(damages in prop::collection::vec(damage(), 1..6)) {
        let mut snapshot = Snapshot::new(Mode::Standalone);
        let update = take_in(&mut snapshot, GOOD.as_bytes().to_vec());
        prop_assert_eq!(update.applied.len(), OBJECTS);
        let before = in_use(&snapshot);

        let content = damaged(&damages);
        if let Ok(reading) = read_manifest("a.yaml", &content, Mode::Standalone) {
            let refused = reading.items.iter().filter(|item| item.loaded.is_none()).count();
            let errors = reading.problems.iter().filter(|problem| problem.is_error()).count();
            prop_assert!(errors >= refused, "an object is refused without a word");
            for item in &reading.items {
                if let Some(loaded) = &item.loaded {
                    prop_assert_eq!(Some(loaded.object.reference()), item.reference.clone());
                }
            }
        }
        // A carriage return ends a line too (YAML 1.2, 5.4).
        let lines = content.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
        for problem in take_in(&mut snapshot, content).problems {
            prop_assert!(problem.line as usize <= lines, "{} of {} lines", problem, lines);
            prop_assert!(!problem.to_string().contains('\n'), "{}", problem);
        }

        let update = take_in(&mut snapshot, GOOD.as_bytes().to_vec());
        prop_assert!(update.complete && update.problems.is_empty());
        prop_assert_eq!(in_use(&snapshot), before);
    }
}
