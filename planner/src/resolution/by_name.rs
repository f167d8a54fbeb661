//! Endpoints that are written as DNS names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::names::Names;

/// What came of the names of one backendRef.
#[derive(Debug, Default)]
pub(super) struct ByName {
    /// All of them: they are asked for, whatever comes of the others.
    pub(super) names: BTreeSet<String>,
    /// Whether some are somebody else's to resolve, and count as resolved here.
    pub(super) elsewhere: bool,
    /// What is wrong with them.
    pub(super) errors: Vec<String>,
    /// What nobody has answered to yet.
    pending: Vec<String>,
}

impl ByName {
    /// The addresses of a name, as far as they are known.
    pub(super) fn look_up<'a>(
        &mut self,
        name: &str,
        known: Option<&'a Names>,
    ) -> impl Iterator<Item = IpAddr> + use<'a> {
        let answer = match known {
            None => {
                self.elsewhere = true;
                None
            }
            Some(known) => {
                self.names.insert(name.to_owned());
                let answer = known.get(name);
                let (found, list) = match answer {
                    Some(answer) => (answer.trouble(name), &mut self.errors),
                    None => (Some(format!("{name} is being looked up")), &mut self.pending),
                };
                // A name may stand there once for each of several ports.
                list.extend(found.filter(|found| !list.contains(found)));
                answer
            }
        };
        answer.into_iter().flat_map(|answer| answer.addresses.iter().copied())
    }

    /// Why they may have no address, if there is a reason.
    pub(super) fn reasons(&self) -> Option<String> {
        let all: Vec<&str> = self.errors.iter().chain(&self.pending).map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
