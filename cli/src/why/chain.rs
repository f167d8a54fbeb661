//! The chain: links in the order from the object that was named down to the endpoints and the client, and the
//! first one that is broken.

use std::fmt;

use serde::Serialize;
use vipgate_api::{Kind, ObjectRef};

use super::cause::{Cause, Fill, Mend, Stage};
use super::explain::Explanation;
use super::facts::Facts;

/// Version of the form of `-o json`. What is added later does not change it; what is taken away or means
/// another thing does.
const SCHEMA: &str = "vipgate.dev/why/v1";

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// It holds.
    Good,
    /// It holds, and there is something to know of it.
    Note,
    /// It does not hold.
    Broken,
    /// It cannot be seen from here, or not before what is broken is mended.
    Unknown,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    /// What it is about.
    pub(super) link: Stage,
    /// Which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<String>,
    pub(super) state: State,
    /// In words.
    pub(super) text: String,
    /// Why it is broken, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<Cause>,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<Mend>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    schema: &'static str,
    /// What was asked about.
    subject: String,
    /// Whether no link is broken.
    pub(super) whole: bool,
    /// Place of the first broken one among the links.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_broken: Option<usize>,
    pub(super) links: Vec<Link>,
    /// Who has each of the VIPs, and why.
    ownership: Vec<Explanation>,
    /// Kinds that could not be listed, so that links which rest on them are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unlisted: Vec<Kind>,
    /// Whether the table of nodes is for people, too.
    #[serde(skip)]
    of_vip: bool,
}

/// Links as they are found.
pub(super) struct Chain<'a> {
    pub(super) facts: &'a Facts,
    /// Only what has to do with this port.
    pub(super) port: Option<u16>,
    links: Vec<Link>,
    pub(super) ownership: Vec<Explanation>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(facts: &'a Facts, port: Option<u16>) -> Self {
        Self { facts, port, links: Vec::new(), ownership: Vec::new() }
    }

    /// Whether a port is asked about.
    pub(super) fn is_meant(&self, port: u16) -> bool {
        self.port.is_none_or(|meant| meant == port)
    }

    pub(super) fn good(&mut self, link: Stage, about: &ObjectRef, text: impl Into<String>) {
        self.add(link, about, State::Good, text.into());
    }

    pub(super) fn note(&mut self, link: Stage, about: &ObjectRef, text: impl Into<String>) {
        self.add(link, about, State::Note, text.into());
    }

    pub(super) fn unknown(&mut self, link: Stage, about: &ObjectRef, text: impl Into<String>) {
        self.add(link, about, State::Unknown, text.into());
    }

    fn add(&mut self, link: Stage, about: &ObjectRef, state: State, text: String) {
        let object = Some(about.to_string());
        let link = Link { link, object, state, text, cause: None, mend: None };
        if !self.links.contains(&link) {
            self.links.push(link);
        }
    }

    /// Whether one of these kinds could not be listed, so that nothing follows from what is not there; says so.
    pub(super) fn is_open(&mut self, stage: Stage, about: &ObjectRef, kinds: &[Kind]) -> bool {
        let Some(why) = self.facts.unlisted(kinds) else { return false };
        self.unknown(stage, about, format!("not known: {why}"));
        true
    }

    /// A link is broken, at this object, or not known to be where the cause rests on what could not be listed;
    /// `fill` has what its command names besides.
    pub(super) fn broken(
        &mut self,
        cause: Cause,
        about: &ObjectRef,
        text: impl Into<String>,
        fill: Fill,
    ) {
        let stage = cause.row().stage;
        if !self.is_open(stage, about, cause.rests_on()) {
            self.broken_at(stage, cause, about, text, fill);
        }
    }

    /// A link is broken because a condition says so, whatever could be listed; the cause may stand at any link.
    pub(super) fn broken_at(
        &mut self,
        stage: Stage,
        cause: Cause,
        about: &ObjectRef,
        text: impl Into<String>,
        fill: Fill,
    ) {
        let link = Link {
            link: stage,
            object: Some(about.to_string()),
            state: State::Broken,
            text: text.into(),
            cause: Some(cause),
            mend: Some(cause.mend(about, &fill, self.facts)),
        };
        if !self.links.contains(&link) {
            self.links.push(link);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.links.iter().any(|link| link.state == State::Broken)
    }

    pub(super) fn is_broken_at(&self, stage: Stage) -> bool {
        self.links.iter().any(|link| link.link == stage && link.state == State::Broken)
    }

    /// In order: what was found first stays first within a stage.
    pub(super) fn into_answer(mut self, subject: String, of_vip: bool) -> Answer {
        self.links.sort_by_key(|link| link.link);
        let first_broken = self.links.iter().position(|link| link.state == State::Broken);
        Answer {
            schema: SCHEMA,
            subject,
            whole: first_broken.is_none(),
            first_broken,
            links: self.links,
            ownership: self.ownership,
            unlisted: self.facts.unread.keys().copied().collect(),
            of_vip,
        }
    }
}

impl Answer {
    #[cfg(test)]
    pub(super) fn first_broken(&self) -> Option<&Link> {
        self.links.get(self.first_broken?)
    }
}

/// Width of the column of links.
const COLUMN: usize = 10;

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.subject)?;
        for (index, link) in self.links.iter().enumerate() {
            let mark = match link.state {
                State::Good => "✓",
                State::Note => "•",
                State::Broken => "✗",
                State::Unknown => "?",
            };
            let object = link.object.iter().map(|object| format!("{object}: "));
            let (object, name) = (object.collect::<String>(), link.link.name());
            writeln!(f, "{mark} {name:COLUMN$} {object}{}", link.text)?;
            if self.first_broken == Some(index) {
                let indent = " ".repeat(COLUMN + 3);
                if let Some(cause) = link.cause {
                    writeln!(
                        f,
                        "{indent}^ the first broken link: {cause}. {}",
                        cause.row().meaning
                    )?;
                }
                if let Some(mend) = &link.mend {
                    writeln!(f, "{indent}run:    {}", mend.command)?;
                    writeln!(f, "{indent}change: {}", mend.change)?;
                }
            }
        }
        if self.of_vip {
            for explanation in &self.ownership {
                write!(f, "\n{explanation}")?;
            }
        }
        Ok(())
    }
}
