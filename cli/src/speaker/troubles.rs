//! What is wrong with what the cluster tells: the newest is shown first.

use std::collections::BTreeMap;

use vipgate_api::{Kind, ObjectRef};

use crate::status::report::Problem;

/// Errors in a Speaker object.
const MOST: usize = 16;
/// Bytes of one.
const LONGEST: usize = 500;

/// What is wrong now. What is over is forgotten.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    noted: BTreeMap<Subject, Noted>,
    count: u64,
}

/// What something is wrong with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The API server does not answer.
    Api,
    /// There is no Node of our name.
    Node,
    /// The Node should have no VIPs.
    Unfit,
    /// Another process has our name.
    Rival,
    /// The key of the group.
    Key,
    /// A kind may not be read.
    Kind(Kind),
    /// An object makes no sense.
    Object(ObjectRef),
}

#[derive(Debug)]
struct Noted {
    text: String,
    at: u64,
}

impl Troubles {
    /// Something is wrong, or (`None`) it is well again.
    pub(super) fn note(&mut self, subject: Subject, text: Option<String>) {
        let Some(text) = text else {
            self.noted.remove(&subject);
            return;
        };
        if self.noted.get(&subject).is_none_or(|noted| noted.text != text) {
            self.count += 1;
            self.noted.insert(subject, Noted { text, at: self.count });
        }
    }

    /// For the Speaker object.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut newest: Vec<(&Subject, &Noted)> = self.noted.iter().collect();
        newest.sort_by_key(|(_, noted)| std::cmp::Reverse(noted.at));
        let text = |(subject, noted): (&Subject, &Noted)| {
            let mut text = match subject {
                Subject::Object(object) => format!("{object}: {}", noted.text),
                _ => noted.text.clone(),
            };
            text.truncate(text.floor_char_boundary(LONGEST));
            text
        };
        newest.into_iter().take(MOST).map(text).collect()
    }

    /// For `vipgate status`.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.noted.iter().map(|(subject, noted)| Problem {
            place: None,
            object: match subject {
                Subject::Object(object) => Some(object.to_string()),
                _ => None,
            },
            reason: None,
            message: noted.text.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_and_there_are_not_too_many() {
        let mut troubles = Troubles::default();
        let object = |n: u32| {
            let key = vipgate_api::ObjectKey::new("default", format!("o{n:02}"));
            Subject::Object(ObjectRef { kind: Kind::Gateway, key })
        };
        for n in 0..20 {
            troubles.note(object(n), Some("is broken".to_owned()));
        }
        troubles.note(Subject::Api, Some("ä".repeat(1000)));
        // Said before.
        troubles.note(object(3), Some("is broken".to_owned()));
        let errors = troubles.errors();
        assert_eq!(errors.len(), MOST);
        assert_eq!(errors[0], "ä".repeat(LONGEST / 2));
        assert_eq!(errors[1], "Gateway default/o19: is broken");

        troubles.note(Subject::Api, None);
        assert_eq!(troubles.errors()[0], "Gateway default/o19: is broken");
        assert_eq!(troubles.problems().count(), 20);
    }
}
