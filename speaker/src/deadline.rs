//! Waiting for a moment that may not be set.

use std::time::Instant;

/// Comes true at that time, or never.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
