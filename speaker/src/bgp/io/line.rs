//! A connection with a peer, in its stages.

use std::future::{Future, pending};
use std::pin::Pin;

use super::dial::Dialed;
use super::link::Link;
use crate::bgp::wire::NextHops;

type Dialing = Pin<Box<dyn Future<Output = Result<Dialed, String>> + Send>>;

/// A connection that may not be there yet.
pub(super) enum Line {
    /// There is none.
    None,
    /// It is being made.
    Dialing(Dialing),
    /// It is there, and where the peer is to send traffic.
    Up(Link, NextHops),
}

/// What happened on one.
pub(super) enum Event {
    /// It is made, or cannot be.
    Dialed(Result<Dialed, String>),
    /// There is something to read, or room to write.
    Ready,
}

impl Line {
    /// Waits until something happens; for ever when there is no connection.
    pub(super) async fn wait(&mut self) -> Event {
        match self {
            Line::None => pending().await,
            Line::Dialing(dialing) => Event::Dialed(dialing.await),
            Line::Up(link, _) => match link.ready().await {
                Ok(()) => Event::Ready,
                Err(_runtime_ends) => pending().await,
            },
        }
    }
}
