//! What is kept of a connection beyond what forwarding it needs, where some policy asks for it.
//!
//! Boxed away, so that connections of listeners and backends without a policy pay eight bytes for it.

use super::departed::Departing;
use crate::proxy::endpoint::Held;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The endpoint that it is connected to, where its connections are counted or may have to end.
    pub(super) endpoint: Option<Held>,
    /// Where it is to end some time after the endpoint left its backendRef.
    pub(super) departing: Option<Departing>,
}
