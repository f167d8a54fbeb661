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
    pub fn supported_version(&self) -> Condition {
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

    /// Whether `supportedFeatures` of a GatewayClass is a list of objects, as since v1.2: before that it
    /// was one of strings, or there was none.
    pub(crate) fn has_features(&self) -> bool {
        let minor = self.bundle.as_deref().and_then(minor_of_1);
        minor.is_none_or(|minor| minor >= 2)
            && !self.bundle.as_deref().is_some_and(|bundle| bundle.starts_with("v0."))
    }

    /// What cannot be read, as the end of a sentence; empty when all can.
    pub(crate) fn unread(&self) -> String {
        self.unread.values().map(|why| format!("; {why}")).collect()
    }
}

fn is_supported(bundle: &str) -> bool {
    minor_of_1(bundle).is_some_and(|minor| SUPPORTED.contains(&minor))
}

/// The minor number of a release of Gateway API 1.
fn minor_of_1(bundle: &str) -> Option<u32> {
    let mut numbers = bundle.trim_start_matches('v').split('.');
    (numbers.next() == Some("1")).then(|| numbers.next()?.parse().ok()).flatten()
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
    fn features_are_told_where_they_are_objects() {
        for (bundle, are) in [
            ("v0.8.1", false),
            ("v1.1.0", false),
            ("v1.2.0", true),
            ("v1.9.0", true),
            ("main", true),
        ] {
            assert_eq!(environment(bundle, &[]).has_features(), are, "{bundle}");
        }
        assert!(Environment::default().has_features());
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
