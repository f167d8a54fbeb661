//! A status as it was seen, kept for when it is to be compared.

use serde_json::Value;
use vipgate_api::Kind;

/// A status, as text: a tenth of what it takes as a [`Value`], and it is looked at seldom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept(Box<str>);

impl Kept {
    /// Of a status as it is.
    pub fn of(status: &Value) -> Self {
        Self(status.to_string().into_boxed_str())
    }

    /// The status.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("it was written by serde_json")
    }
}

/// Whether something is said in the status of a kind: of the others it is not kept.
pub(crate) fn is_told_of(kind: Kind) -> bool {
    let others = [Kind::GatewayClass, Kind::Gateway, Kind::ListenerSet, Kind::Service];
    kind.is_route()
        || kind.is_policy()
        || kind.is_about_bgp()
        || kind == Kind::IpAddressPool
        || others.contains(&kind)
}

/// Whether our types hold nothing of a kind that changes without its `metadata.generation`, but for labels
/// and the like; so that an object of which the status alone has changed is the same, without its version.
/// Of the kinds that more than statuses are written to the version is asked for (`Index::is_current`).
pub(super) fn is_without_status(kind: Kind) -> bool {
    let written = [Kind::GatewayClass, Kind::Service, Kind::IpAddressPool];
    is_told_of(kind) && !written.contains(&kind)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Else nothing would be changed back that somebody else has changed.
    #[test]
    fn what_is_written_but_for_its_status_keeps_its_version() {
        for kind in [Kind::GatewayClass, Kind::IpAddressPool, Kind::Service, Kind::Secret] {
            assert!(!is_without_status(kind), "{kind:?}");
        }
        assert!(is_without_status(Kind::TcpRoute) && is_without_status(Kind::Gateway));
    }

    #[test]
    fn a_status_is_kept_in_its_order_and_comes_back_as_it_was() {
        let status = json!({"z": [{"b": 1, "a": "ü\"\n"}], "a": null});
        let kept = Kept::of(&status);
        assert_eq!(kept.value(), status);
        assert_eq!(kept, Kept::of(&kept.value()));
    }
}
