//! `docs/reference/events.md`: which changes become events, and which of them are warnings.

use std::fmt::Write;

use anyhow::Result;
use vipgate_api::{Condition, ConditionStatus, ConditionType, Reason};
use vipgate_controller::merge::{Part, Transition};

use crate::hold;

const HEAD: &str = "# Events\n\n\
    Made from the code; `make reference` makes it again.\n\n\
    In a cluster each change of a condition is an event (`events.k8s.io/v1`) of the object, also of its listeners, parents and \
    ancestors. Its *action* is the type of the condition, its *reason* that of the condition ([what each means](../reasons.md)), \
    its *note* the status and message. The same again within minutes is counted in the event that there is.\n\n\
    `kubectl describe` shows those of an object; of all: `kubectl get events --field-selector reason=AddressConflict` and the like. \
    Standalone the same changes are lines of the log.\n\n\
    ## Of conditions\n\n\
    | action | Warning | Normal |\n|---|---|---|\n";

const SESSIONS: &str = "\n## Of BGP sessions\n\n\
    Of the BGPPeer, told by the speaker of each node; action `Session`.\n\n\
    | reason | type | meaning |\n|---|---|---|\n";

/// Whether an event of it is a warning.
fn is_warning(kind: ConditionType, status: ConditionStatus, reason: Reason) -> bool {
    let condition = Condition { kind, status, reason, message: String::new() };
    Transition { of: Part::Whole, condition }.is_bad()
}

/// Of a condition: the statuses that are told as warnings, or are not.
fn statuses(kind: ConditionType, warning: bool) -> String {
    let all = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown];
    let told = all.into_iter().filter_map(|status| {
        let such = |reason: &&Reason| is_warning(kind, status, **reason) == warning;
        let reasons: Vec<&Reason> = Reason::ALL.iter().filter(such).collect();
        let others: Vec<&Reason> = Reason::ALL.iter().filter(|one| !such(one)).collect();
        let names = |some: &[&Reason]| -> String {
            some.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ")
        };
        match (reasons.len(), others.len()) {
            (0, _) => None,
            (_, 0) => Some(format!("{status}")),
            (few, most) if few < most => Some(format!("{status} with {}", names(&reasons))),
            _ => Some(format!("{status}, but for {}", names(&others))),
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

#[test]
fn the_page_is_fresh() -> Result<()> {
    let mut page = HEAD.to_owned();
    for kind in ConditionType::ALL {
        let (warning, normal) = (statuses(kind, true), statuses(kind, false));
        writeln!(page, "| `{kind}` | {warning} | {normal} |")?;
    }
    page.push_str(SESSIONS);
    for (reason, kind) in [(Reason::SessionEstablished, "Normal"), (Reason::NoSession, "Warning")] {
        writeln!(page, "| `{reason}` | {kind} | {} |", reason.meaning())?;
    }
    hold("docs/reference/events.md", &page)
}
