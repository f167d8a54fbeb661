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
pub(super) fn is_without_status(kind: Kind) -> bool {
    is_told_of(kind) && !matches!(kind, Kind::GatewayClass | Kind::Service)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_kept_in_its_order_and_comes_back_as_it_was() {
        let status = json!({"z": [{"b": 1, "a": "ü\"\n"}], "a": null});
        let kept = Kept::of(&status);
        assert_eq!(kept.value(), status);
        assert_eq!(kept, Kept::of(&kept.value()));
    }
}
