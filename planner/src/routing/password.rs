//! Passwords of sessions: Secrets of type `kubernetes.io/basic-auth`. What is in them is never shown.

use vipgate_api::vipgate::PasswordSecret;
use vipgate_api::{ObjectKey, Reason};

use crate::bgp::Password;
use crate::refusal::Refusal;
use crate::world::World;

const TYPE: &str = PasswordSecret::TYPE;
const FIELD: &str = "password";
/// The kernel's `TCP_MD5SIG_MAXKEYLEN`.
const LONGEST: usize = 80;

/// The password that a BGPPeer names.
pub(super) fn password(
    world: &World,
    peer: &ObjectKey,
    reference: &PasswordSecret,
) -> Result<Password, Refusal> {
    let namespace = reference.namespace.as_ref().unwrap_or(&peer.namespace);
    let key = ObjectKey::new(namespace, &reference.name);
    let found = world.secrets.get(&key).map(|stored| &stored.object);
    let Some(secret) = found.filter(|secret| secret.type_.as_deref() == Some(TYPE)) else {
        return Err(refusal(format!(
            "spec.passwordSecret: there is no Secret {key} of type {TYPE} that may be read here: create one \
             with the key {FIELD} (in a cluster in the namespace of the speakers, the only one whose Secrets \
             they read, and write that as passwordSecret.namespace). Until then there is no session"
        )));
    };
    let of_secret = |why: String| refusal(format!("spec.passwordSecret: Secret {key}: {why}"));
    let data = secret.data.as_ref().and_then(|data| data.get(FIELD));
    match data.map(|bytes| bytes.0.as_slice()) {
        None => Err(of_secret(format!("data has no {FIELD}: put the password there"))),
        Some([]) => Err(of_secret(format!("data.{FIELD} is empty: put the password there"))),
        Some([.., b'\n']) => Err(of_secret(format!(
            "data.{FIELD} ends with a line break, which no router can be given: make it without (`echo -n`, \
             or `kubectl create secret generic {} --type={TYPE} --from-literal={FIELD}=...`)",
            reference.name
        ))),
        Some(long) if long.len() > LONGEST => Err(of_secret(format!(
            "data.{FIELD} has {} bytes: TCP MD5 takes at most {LONGEST}",
            long.len()
        ))),
        Some(password) => Ok(Password(password.to_vec())),
    }
}

fn refusal(message: String) -> Refusal {
    Refusal::new(Reason::InvalidPassword, message)
}
