//! Whether the API server keeps `status.loadBalancer.ingress[].ipMode` of Services.
//!
//! Where it does not, kube-proxy captures every address that a Service shows. For Services that is as
//! it always was; the companion of a Gateway must show none then, because its addresses are served by
//! sockets. So a companion shows addresses only when it is known that `ipMode` is kept, and not before.
//!
//! The field came with Kubernetes 1.30 (beta: on unless switched off) and is always there since 1.32.

use serde_json::Value;

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpMode {
    /// It is kept.
    Kept,
    /// It is dropped, silently.
    Dropped,
    /// It depends on a switch: to be tried.
    Unsure,
}

impl IpMode {
    /// What the version of an API server tells, major and minor as it says them (`1`, `29+`).
    pub fn of_version(major: &str, minor: &str) -> Self {
        let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
        match (major.parse::<u32>(), digits.parse::<u32>()) {
            (Ok(1), Ok(0..=29)) => Self::Dropped,
            (Ok(1), Ok(30..=31)) => Self::Unsure,
            (Ok(1), Ok(_)) | (Ok(2..), _) => Self::Kept,
            _ => Self::Unsure,
        }
    }

    /// What a status tells that was written with `ipMode`, by what came back; nothing when it has no
    /// address.
    pub fn of_answer(written: &Value, kept: &Value) -> Option<Self> {
        let has = |status: &Value| !status["loadBalancer"]["ingress"][0]["ipMode"].is_null();
        has(written).then(|| if has(kept) { Self::Kept } else { Self::Dropped })
    }
}

/// Takes `ipMode` out of a status of a Service: what is written is what is kept.
pub fn strip(status: &mut Value) {
    let ingress = status.pointer_mut("/loadBalancer/ingress").and_then(Value::as_array_mut);
    for address in ingress.into_iter().flatten().filter_map(Value::as_object_mut) {
        address.remove("ipMode");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_version_tells_or_leaves_it_open() {
        for (major, minor, expected) in [
            ("1", "28", IpMode::Dropped),
            ("1", "29+", IpMode::Dropped),
            ("1", "30", IpMode::Unsure),
            ("1", "31-eks-1234", IpMode::Unsure),
            ("1", "32", IpMode::Kept),
            ("1", "35+", IpMode::Kept),
            ("2", "0", IpMode::Kept),
            ("", "", IpMode::Unsure),
            ("1", "x", IpMode::Unsure),
        ] {
            assert_eq!(IpMode::of_version(major, minor), expected, "{major}.{minor}");
        }
    }

    #[test]
    fn an_answer_tells_when_there_was_something_to_keep() {
        let with = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7", "ipMode": "Proxy"}]}});
        let without = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
        assert_eq!(IpMode::of_answer(&with, &with), Some(IpMode::Kept));
        assert_eq!(IpMode::of_answer(&with, &without), Some(IpMode::Dropped));
        assert_eq!(IpMode::of_answer(&without, &without), None);
        assert_eq!(IpMode::of_answer(&json!({"loadBalancer": {}}), &json!({})), None);
    }

    #[test]
    fn a_status_without_it_has_the_plain_addresses() {
        let mut status = json!({"loadBalancer": {"ingress": [
            {"ip": "192.0.2.7", "ipMode": "VIP"}, {"ip": "2001:db8::7", "ipMode": "VIP"}]},
            "conditions": [{"type": "vipgate.dev/AddressAssigned"}]});
        strip(&mut status);
        let plain = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"ip": "2001:db8::7"}]},
            "conditions": [{"type": "vipgate.dev/AddressAssigned"}]});
        assert_eq!(status, plain);
        let mut theirs = json!({"conditions": []});
        strip(&mut theirs);
        assert_eq!(theirs, json!({"conditions": []}));
    }
}
