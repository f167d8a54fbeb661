//! The companion as a ServiceAccount: labels and annotations, and nothing else.

use serde_json::json;
use vipgate_api::gateway::Gateway;
use vipgate_api::k8s::ServiceAccount;
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use super::{Infrastructure, metadata, names, owner_reference, reference};
use crate::change::Change;

/// A new one, under the name that nobody else has: the one with the hash.
pub(super) fn create(key: &ObjectKey, gateway: &Gateway) -> Change {
    let uid = gateway.metadata.uid.as_deref().unwrap_or_default();
    let [_, hashed] = names(&key.name, uid);
    let key = ObjectKey::new(&key.namespace, hashed.unwrap_or_default());
    let Infrastructure { labels, annotations } = Infrastructure::of(gateway);
    let body = json!({
        "apiVersion": Kind::ServiceAccount.api_version(),
        "kind": Kind::ServiceAccount.name(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(gateway)],
        },
        "automountServiceAccountToken": false,
    });
    Change::Create(ObjectRef { kind: Kind::ServiceAccount, key }, body)
}

/// Sets the first one right; there is only one for each Gateway.
pub(super) fn corrections(there: &[&ServiceAccount], gateway: &Gateway) -> Vec<Change> {
    let Some((account, surplus)) = there.split_first() else { return Vec::new() };
    let change = metadata(&account.metadata, &Infrastructure::of(gateway));
    let right = (!change.is_empty())
        .then(|| Change::Merge(reference(*account), json!({"metadata": change})));
    let surplus = surplus.iter().map(|account| Change::Delete(reference(*account)));
    right.into_iter().chain(surplus).collect()
}
