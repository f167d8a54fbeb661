//! What has nothing to do with a change of a file is not decided anew, and comes out as if it were.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use vipgate_api::manifest::{File, Held, Listing, Mode, Problem, Snapshot, Update};
use vipgate_api::{Age, Object, ObjectRef};

/// What is in a file.
#[derive(Clone, Debug)]
enum Content {
    /// Pools by number: well written with this address, or badly; or a document that is none.
    Documents(Vec<Document>),
    Unreadable,
}

#[derive(Clone, Debug)]
enum Document {
    Good(usize, u8, Option<i64>),
    Bad(usize),
    Broken,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Content),
    Remove(usize),
    /// Whether the directory of the last files can be listed.
    Hide(bool),
}

const FILES: [&str; 5] = ["a.yaml", "b.yaml", "c.yaml", "d/e.yaml", "d/f.yaml"];

fn document() -> impl Strategy<Value = Document> {
    prop_oneof![
        6 => (0..5_usize, 1..4_u8, prop::option::weighted(0.2, 1..9_i64))
            .prop_map(|(pool, address, count)| Document::Good(pool, address, count)),
        2 => (0..5_usize).prop_map(Document::Bad),
        1 => Just(Document::Broken),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let content = prop_oneof![
        8 => prop::collection::vec(document(), 0..4).prop_map(Content::Documents),
        1 => Just(Content::Unreadable),
    ];
    prop_oneof![
        8 => (0..FILES.len(), content).prop_map(|(file, content)| Step::Write(file, content)),
        2 => (0..FILES.len()).prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Hide),
    ]
}

fn text(documents: &[Document]) -> String {
    let head = "---\napiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata:\n  name: p";
    let one = |document: &Document| match document {
        Document::Good(pool, address, count) => {
            let count = count.map(|count| format!("\n  generation: {count}")).unwrap_or_default();
            format!("{head}{pool}{count}\nspec:\n  addresses: [192.0.2.{address}]\n")
        }
        Document::Bad(pool) => format!("{head}{pool}\nspec:\n  addresses: [bad]\n"),
        Document::Broken => {
            "---\napiVersion: vipgate.dev/v1alpha1\nkind: [IPAddressPool\n".to_owned()
        }
    };
    documents.iter().map(one).collect()
}

/// The directory; with a mark at the end of each file, for one that is to read them all each time.
fn listing(files: &BTreeMap<usize, Content>, hidden: bool, mark: Option<usize>) -> Listing {
    let shown = files.iter().filter(|(file, _)| !hidden || **file < 3);
    let file = |(file, content): (&usize, &Content)| {
        let path = FILES[*file].to_owned();
        let content = match content {
            Content::Unreadable => Err(Problem::of_file(&path, "cannot be read")),
            Content::Documents(documents) => {
                let mark = mark.map(|mark| format!("# {mark}\n")).unwrap_or_default();
                Ok((text(documents) + &mark).into_bytes())
            }
        };
        File { path, content }
    };
    let unread = hidden.then(|| "d".to_owned()).into_iter().collect();
    Listing { files: shown.map(file).collect(), unread, ..Listing::default() }
}

/// Everything that is said of what is in use.
fn in_use(snapshot: &Snapshot) -> Vec<String> {
    let show = |(object, held): (&ObjectRef, &Held)| {
        let Object::IpAddressPool(pool) = &held.object else { panic!("{object}") };
        let (age, origin) = (&held.age, &held.origin);
        format!("{object} {:?} {:?} {age:?} {origin:?}", pool.metadata.generation, pool.spec)
    };
    snapshot.objects().map(show).collect()
}

/// What changed, what is wrong, and whether all is known.
type Told<'u> = (&'u [(Object, Age)], &'u [ObjectRef], &'u [Problem], bool);

fn told(update: &Update) -> Told<'_> {
    (&update.applied, &update.removed, &update.problems, update.complete)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3000 }))]

    #[test]
    fn what_is_decided_in_parts_is_what_is_decided_as_a_whole(steps in prop::collection::vec(step(), 1..25)) {
        let [mut parts, mut whole] = [(); 2].map(|()| Snapshot::new(Mode::Standalone));
        let (mut files, mut hidden) = (BTreeMap::new(), false);
        for (mark, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(file, content) => drop(files.insert(file, content)),
                Step::Remove(file) => drop(files.remove(&file)),
                Step::Hide(now) => hidden = now,
            }
            let of_parts = parts.update(listing(&files, hidden, None));
            let of_whole = whole.update(listing(&files, hidden, Some(mark)));
            prop_assert_eq!(told(&of_parts), told(&of_whole));
            prop_assert_eq!(in_use(&parts), in_use(&whole));
        }
    }
}
