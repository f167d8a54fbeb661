//! Passwords of BGPPeers: Secrets of type `kubernetes.io/basic-auth` in the install namespace. Of the other
//! Secrets there, which are somebody else's, the planner sees nothing.

use std::collections::BTreeSet;

use vipgate_api::ObjectKey;
use vipgate_api::k8s::Secret;
use vipgate_api::vipgate::PasswordSecret;

const TYPE: &str = PasswordSecret::TYPE;

/// Those that are there.
#[derive(Debug, Default)]
pub(super) struct Passwords(BTreeSet<ObjectKey>);

/// What a Secret is for the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A password.
    Known,
    /// None any more: one of another type has its name.
    Gone,
    /// None.
    Other,
}

impl Passwords {
    /// Takes in a Secret.
    pub(super) fn apply(&mut self, secret: &Secret) -> Fate {
        let key = ObjectKey::of(&secret.metadata);
        if is_password(secret) {
            self.0.insert(key);
            return Fate::Known;
        }
        if self.0.remove(&key) { Fate::Gone } else { Fate::Other }
    }

    /// A Secret is gone; says whether it was a password.
    pub(super) fn gone(&mut self, key: &ObjectKey) -> bool {
        self.0.remove(key)
    }
}

/// Whether it may be the password of a BGPPeer.
pub(super) fn is_password(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_until_it_is_gone_or_of_another_type() {
        let secret = |kind: &str| {
            let mut secret = Secret { type_: Some(kind.to_owned()), ..Secret::default() };
            secret.metadata.name = Some("router".to_owned());
            secret
        };
        let mut passwords = Passwords::default();
        assert_eq!(passwords.apply(&secret("Opaque")), Fate::Other);
        assert_eq!(passwords.apply(&secret(TYPE)), Fate::Known);
        assert_eq!(passwords.apply(&secret("Opaque")), Fate::Gone);
        assert_eq!(passwords.apply(&secret(TYPE)), Fate::Known);
        let key = ObjectKey::of(&secret(TYPE).metadata);
        assert!(passwords.gone(&key));
        assert!(!passwords.gone(&key));
    }
}
