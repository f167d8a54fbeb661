//! The key of the speakers' group: a Secret in the install namespace, made once.
//!
//! No template makes it: a key in a chart would be known to whoever reads the chart's release, and be
//! another one after each upgrade.

use std::collections::BTreeMap;

use kube::api::{Api, PostParams};
use kube::{Client, Error, ResourceExt};
use vipgate_api::k8s::Secret;

use crate::backoff::Backoff;
use crate::words::with_causes;

/// Its name.
pub const NAME: &str = "vipgate-group";
/// Its type.
const TYPE: &str = "vipgate.dev/group-key";
/// What it holds: the text of a key file (`vipgate keygen`), of one key, or two during a rotation.
const FIELD: &str = "keys";

/// Makes the Secret with this text, unless there is one; tries until one is there.
pub async fn ensure(client: Client, namespace: &str, text: &str) {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let mut secret = Secret { type_: Some(TYPE.to_owned()), ..Secret::default() };
    secret.metadata.name = Some(NAME.to_owned());
    secret.string_data = Some(BTreeMap::from([(FIELD.to_owned(), text.to_owned())]));
    let mut backoff = Backoff::default();
    loop {
        match api.create(&PostParams::default(), &secret).await {
            Ok(_) => {
                tracing::info!(secret = NAME, namespace, "made a key for the group of speakers");
                return;
            }
            Err(Error::Api(status)) if status.is_already_exists() => return,
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(
                    secret = NAME,
                    namespace,
                    error,
                    "the key for the group of speakers cannot be made; speakers wait for it"
                );
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }
}

/// The text of the key, if this is that Secret.
pub fn text_of(secret: &Secret) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(FIELD).filter(|_| secret.name_any() == NAME)?;
    String::from_utf8(bytes.0.clone()).ok()
}
