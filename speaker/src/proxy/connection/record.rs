//! What is kept of a connection beyond what forwarding it needs, where some policy asks for it.
//!
//! Boxed away, so that connections of listeners and backends without a policy pay eight bytes for it.

use std::sync::Arc;

use crate::proxy::endpoint::EndpointState;
use crate::proxy::preserve::Preserved;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The endpoint that it is connected to.
    pub(super) endpoint: Option<Arc<EndpointState>>,
    /// That it comes from the client's address, if it does.
    pub(super) preserved: Option<Preserved>,
}
