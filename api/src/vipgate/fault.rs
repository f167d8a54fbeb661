//! What is wrong with a spec, as the spec itself knows it.

/// Something in a spec that cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `spec.communities[0]`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}
