//! What becomes of the VIP of a Gateway or Service that has no backend to send anything to: annotation
//! `vipgate.dev/no-backends`.
//!
//! `Reject`, unless said: it stays, and connections are reset at once, as the Gateway API wants it.
//! `Withdraw`: it is announced nowhere, for clients or routers that have another place to go to.

use vipgate_api::k8s::ObjectMeta;

pub(crate) const ANNOTATION: &str = "vipgate.dev/no-backends";

/// Whether the VIP is to be withdrawn; the error says what to write.
pub(crate) fn withdraws(metadata: &ObjectMeta) -> Result<bool, String> {
    let written = metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    match written.map(|value| value.trim()) {
        None | Some("" | "Reject") => Ok(false),
        Some("Withdraw") => Ok(true),
        Some(other) => Err(format!(
            "annotation {ANNOTATION} says {other:?}, and Reject counts: write Reject or Withdraw"
        )),
    }
}
