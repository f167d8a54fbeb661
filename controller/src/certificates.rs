//! Copies of certificates for the speakers (docs/decisions/0008).

/// Annotation of a copy: the namespace of the Secret that it is a copy of.
pub const SOURCE_NAMESPACE: &str = "vipgate.dev/source-namespace";
/// Annotation of a copy: the name of the Secret that it is a copy of.
pub const SOURCE_NAME: &str = "vipgate.dev/source-name";
