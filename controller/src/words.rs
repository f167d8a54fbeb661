//! Failures of requests, in words.

use std::error::Error;

use kube::core::Status;
use kube::runtime::watcher;

/// What the API server refused, and the verb that was refused; `None` when it did not answer at all.
pub(crate) fn refusal(error: &watcher::Error) -> Option<(&'static str, &Status)> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => Some(("list", status)),
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(("watch", status)),
        _ => None,
    }
}

/// An error with everything behind it: `client error (Connect): tcp connect error: Connection refused`.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat what is behind them.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Inner;

    #[test]
    fn causes_are_named_once() {
        assert_eq!(with_causes(&Outer("no connection", Inner)), "no connection: refused");
        assert_eq!(with_causes(&Outer("no connection: refused", Inner)), "no connection: refused");
    }
}
