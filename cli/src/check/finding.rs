//! What one check says, and how all of it is shown.
//!
//! Always holds: a report has a finding for each check of its scope. One that was not looked at says so, with
//! the reason, and is never shown as well.

use std::fmt::{self, Write};

use serde::Serialize;

use super::catalogue::{Check, Scope};

/// Version of the JSON; a field is added without a new one, and never changed or taken away.
pub(crate) const SCHEMA: &str = "vipgate.dev/check/v1";

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or may; something is better changed.
    Warning,
    /// Something does not work, or will not.
    Error,
    /// It is not known.
    NotLookedAt,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) scope: Scope,
    pub(crate) verdict: Verdict,
    /// What was found; of what was not looked at, why not.
    pub(crate) found: String,
    /// Why it matters; of warnings and errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<&'static str>,
    /// What to write to mend it; of warnings and errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn new(check: Check, verdict: Verdict, found: impl Into<String>) -> Self {
        let scope = check.entry().scope;
        Self { check, scope, verdict, found: found.into(), why: None, mend: None }
    }

    pub(crate) fn ok(check: Check, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found)
    }

    /// With what the catalogue has to mend it.
    pub(crate) fn warning(check: Check, found: impl Into<String>) -> Self {
        let (why, mend) = (check.entry().why, check.entry().mend.to_owned());
        Self { why: Some(why), mend: Some(mend), ..Self::new(check, Verdict::Warning, found) }
    }

    /// The same.
    pub(crate) fn error(check: Check, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, ..Self::warning(check, found) }
    }

    /// It is not known, for this reason.
    pub(crate) fn unseen(check: Check, reason: impl Into<String>) -> Self {
        Self::new(check, Verdict::NotLookedAt, reason)
    }

    /// With the very words that mend it here.
    pub(crate) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }

    fn is(&self, verdict: Verdict) -> bool {
        self.verdict == verdict
    }
}

/// All findings.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    schema: &'static str,
    version: &'static str,
    summary: Summary,
    findings: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    ok: usize,
    warnings: usize,
    errors: usize,
    not_looked_at: usize,
}

impl Report {
    /// In the order of the catalogue. What a check of these scopes did not say is said to be missing.
    pub(crate) fn new(scopes: &[Scope], mut findings: Vec<Finding>) -> Self {
        for check in Check::ALL {
            let said = findings.iter().any(|finding| finding.check == *check);
            if scopes.contains(&check.entry().scope) && !said {
                let reason = "it gave no answer, which is a fault of vipgate: please report it";
                findings.push(Finding::unseen(*check, reason));
            }
        }
        findings.sort_by_key(|finding| finding.check);
        let count = |verdict| findings.iter().filter(|finding| finding.is(verdict)).count();
        let summary = Summary {
            ok: count(Verdict::Ok),
            warnings: count(Verdict::Warning),
            errors: count(Verdict::Error),
            not_looked_at: count(Verdict::NotLookedAt),
        };
        Self { schema: SCHEMA, version: env!("CARGO_PKG_VERSION"), summary, findings }
    }

    /// Whether anything is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.summary.errors > 0
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn counted(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, warnings, errors, not_looked_at } = self;
        let (warnings, errors) = (counted(*warnings, "warning"), counted(*errors, "error"));
        write!(f, "{ok} ok, {warnings}, {errors}, {not_looked_at} not looked at")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = Check::ALL.iter().map(|check| check.entry().id.len()).max().unwrap_or(0);
        let mut scope = None;
        for finding in &self.findings {
            if scope.replace(finding.scope) != Some(finding.scope) {
                writeln!(f, "{}", finding.scope.title())?;
            }
            let (word, found) = match finding.verdict {
                Verdict::Ok => ("ok", finding.found.clone()),
                Verdict::Warning => ("WARNING", finding.found.clone()),
                Verdict::Error => ("ERROR", finding.found.clone()),
                Verdict::NotLookedAt => ("?", format!("not looked at: {}", finding.found)),
            };
            let mut lines = String::new();
            writeln!(lines, "  {word:7}  {:width$}  {found}", finding.check.entry().id)?;
            let (why, mend) = (finding.why.unwrap_or_default(), finding.mend.as_deref());
            for (name, text) in [("why", why), ("do", mend.unwrap_or_default())] {
                if !text.is_empty() {
                    writeln!(lines, "           {:width$}  {name}: {text}", "")?;
                }
            }
            f.write_str(&lines)?;
        }
        writeln!(f, "{}", self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gave_no_answer_is_not_looked_at_and_never_well() {
        let report = Report::new(&[Scope::Node], vec![Finding::ok(Check::MTU, "1500")]);
        let of_node = Check::ALL.iter().filter(|check| check.entry().scope == Scope::Node).count();
        assert_eq!(report.summary.ok, 1);
        assert_eq!(report.summary.not_looked_at, of_node - 1);
        assert!(!report.has_errors());
        let text = report.to_string();
        assert!(text.contains("?        capabilities"), "{text}");
        assert!(!text.contains("kube-proxy"), "not asked for: {text}");
    }

    #[test]
    fn a_warning_says_why_and_what_to_write_in_text_and_json() {
        let finding = Finding::warning(Check::RP_FILTER, "eth0 is strict").mend("sysctl -w x=2");
        let report = Report::new(&[], vec![finding, Finding::error(Check::CRDS, "no pools")]);
        assert!(report.has_errors());
        let text = report.to_string();
        for part in ["WARNING  rp-filter", "eth0 is strict", "do: sysctl -w x=2", "why: ", "ERROR"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.ends_with("0 ok, 1 warning, 1 error, 0 not looked at\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["schema"], "vipgate.dev/check/v1");
        assert_eq!(json["findings"][0]["check"], "rp-filter");
        assert_eq!(json["findings"][0]["scope"], "node");
        assert_eq!(json["findings"][0]["verdict"], "warning");
        assert_eq!(json["findings"][0]["mend"], "sysctl -w x=2");
        assert_eq!(json["summary"]["notLookedAt"], 0);
    }
}
