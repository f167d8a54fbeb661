//! What the cluster around us has, beyond objects: the release of the Gateway API, kinds that are not
//! served, kinds that may not be read.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::{Condition, ConditionType, Kind, Reason};

/// Minor releases of Gateway API 1 that are supported.
const SUPPORTED: std::ops::RangeInclusive<u32> = 2..=6;

/// See the module. Without a cluster nothing is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Release of the Gateway API, as its CRDs say: `v1.6.1`.
    pub bundle: Option<String>,
    /// Kinds that the API server does not serve.
    pub absent: BTreeSet<Kind>,
    /// Kinds that cannot be read; the text says why and what to do.
    pub unread: BTreeMap<Kind, String>,
}

impl Environment {
    /// Whether the release is one that is supported, and what of it is not there.
    pub(crate) fn supported_version(&self) -> Condition {
        let kind = ConditionType::SupportedVersion;
        let Some(bundle) = &self.bundle else {
            let message = "objects are read as Gateway API v1.6 defines them";
            return Condition::holds(kind, Reason::SupportedVersion, message);
        };
        if !is_supported(bundle) {
            let (oldest, newest) = (SUPPORTED.start(), SUPPORTED.end());
            let message = format!(
                "Gateway API {bundle} is installed, supported are v1.{oldest} to v1.{newest}; what \
                 can be read is served all the same"
            );
            return Condition::fails(kind, Reason::UnsupportedVersion, message);
        }
        let absent: Vec<_> = self.absent.iter().map(ToString::to_string).collect();
        let message = match absent.is_empty() {
            true => format!("Gateway API {bundle} is installed"),
            false => format!(
                "Gateway API {bundle} is installed; not served by this API server: {} (install \
                 their CRDs to use them)",
                absent.join(", ")
            ),
        };
        Condition::holds(kind, Reason::SupportedVersion, message)
    }

    /// What cannot be read, as the end of a sentence; empty when all can.
    pub(crate) fn unread(&self) -> String {
        self.unread.values().map(|why| format!("; {why}")).collect()
    }
}

fn is_supported(bundle: &str) -> bool {
    let mut numbers = bundle.trim_start_matches('v').split('.');
    let major = numbers.next();
    let minor = numbers.next().and_then(|minor| minor.parse().ok());
    major == Some("1") && minor.is_some_and(|minor| SUPPORTED.contains(&minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(bundle: &str, absent: &[Kind]) -> Environment {
        Environment {
            bundle: Some(bundle.to_owned()),
            absent: absent.iter().copied().collect(),
            ..Environment::default()
        }
    }

    #[test]
    fn releases_are_told_apart() {
        for (bundle, is) in [
            ("v1.2.0", true),
            ("v1.6.1", true),
            ("v1.6.1-rc.1", true),
            ("v1.1.0", false),
            ("v1.7.0", false),
            ("v2.3.0", false),
            ("main", false),
        ] {
            assert_eq!(environment(bundle, &[]).supported_version().is_true(), is, "{bundle}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let condition = environment("v1.6.1", &[Kind::TcpRoute]).supported_version();
        assert!(condition.message.contains("TCPRoute"), "{}", condition.message);
        let future = environment("v1.9.0", &[]).supported_version();
        assert_eq!(future.reason, Reason::UnsupportedVersion);
        assert!(future.message.contains("v1.9.0") && future.message.contains("v1.2 to v1.6"));
        assert_eq!(Environment::default().unread(), "");
    }
}
