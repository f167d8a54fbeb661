//! Connecting to the picked target.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::getpeername;
use rustix::net::sockopt::socket_error;

use super::departed::Departing;
use super::introduce::Unsaid;
use super::{Connection, Context, DEAD, Ending, Stage, Verdict};
use crate::proxy::connect;
use crate::proxy::keepalive;
use crate::proxy::preserve::{NotPreserved, Source};
use crate::proxy::stats::ResetReason;
use crate::proxy::token::Side;

impl Connection {
    /// Starts attempts until one is under way.
    pub(super) fn dial(&mut self, context: &Context<'_>) -> Verdict {
        let client = match &self.stage {
            Stage::Dialling(dial) if dial.preserves() => self.client_addresses(),
            _ => None,
        };
        while let Stage::Dialling(dial) = &mut self.stage {
            let attempt = dial.attempt(client, context.preserving, context.now);
            let attempt = attempt.and_then(|socket| {
                context.watch(&socket, Side::Server)?;
                Ok(socket)
            });
            match attempt {
                Ok(socket) => {
                    if let Some(keepalive) = self.record.as_ref().and_then(|r| r.keepalive) {
                        // Fails only on something that is no socket.
                        let _ = keepalive::set(socket.as_fd(), Some(keepalive));
                    }
                    self.server = Some(socket);
                    dial.deadline = context.now + dial.settings().connect_timeout;
                    return Verdict::Arm(dial.deadline);
                }
                Err(error) if connect::is_exhaustion(error) => {
                    return Verdict::End(Ending::Reset(ResetReason::OutOfFiles));
                }
                Err(error) if connect::lacks_port(error, dial.endpoint().address) => {
                    if !dial.has_no_port() {
                        return Verdict::End(Ending::Reset(ResetReason::OutOfPorts));
                    }
                }
                Err(error) => {
                    if !dial.failed(error) {
                        return Verdict::End(Ending::Reset(ResetReason::ConnectFailed));
                    }
                }
            }
        }
        Verdict::Wait
    }

    fn attempt_failed(&mut self, error: Errno, context: &Context<'_>) -> Verdict {
        let Stage::Dialling(dial) = &mut self.stage else { return Verdict::Wait };
        self.server = None;
        // What the failed socket said is not about the next one.
        self.relay.forget_server();
        let again = match dial.doubts(error, context.now) {
            true => dial.failed_and_stays(error),
            false => dial.failed(error),
        };
        if again {
            self.dial(context)
        } else {
            Verdict::End(Ending::Reset(ResetReason::ConnectFailed))
        }
    }

    /// The attempt's time is up.
    pub(super) fn dialling_too_long(&mut self, context: &mut Context<'_>) -> Verdict {
        // A worker that fell behind may not have seen yet that it is connected.
        if self.server.as_ref().is_some_and(|server| getpeername(server).is_ok()) {
            self.dialled(EventFlags::OUT, context)
        } else {
            self.attempt_failed(Errno::TIMEDOUT, context)
        }
    }

    /// The socket that is being connected raised an event.
    pub(super) fn dialled(&mut self, flags: EventFlags, context: &mut Context<'_>) -> Verdict {
        let (Stage::Dialling(dial), Some(server)) = (&self.stage, &self.server) else {
            return Verdict::Wait;
        };
        let is_secure = dial.tls().is_some();
        if flags.intersects(DEAD) {
            match socket_error(server).and_then(|result| result) {
                // The connection was made and then reset: the endpoint accepted it, so the client
                // gets the reset, and no other endpoint is asked.
                Ok(()) | Err(Errno::CONNRESET | Errno::PIPE) if !is_secure => {
                    self.connected(context);
                    return self.broke(Side::Server, context);
                }
                Err(error) => return self.attempt_failed(error, context),
                // No handshake is no connection, and nothing of the client's has gone there.
                Ok(()) => return self.attempt_failed(Errno::CONNRESET, context),
            }
        }
        if !flags.contains(EventFlags::OUT) {
            return Verdict::Wait;
        }
        match self.introduce() {
            Ok(()) => {}
            Err(Unsaid::NoClient) => return Verdict::End(Ending::Reset(ResetReason::ByClient)),
            // As above: without TLS it was taken, with TLS it was not.
            Err(Unsaid::Reset) if is_secure => {
                return self.attempt_failed(Errno::CONNRESET, context);
            }
            Err(Unsaid::Reset) => {
                self.connected(context);
                return self.broke(Side::Server, context);
            }
            Err(Unsaid::Failed(error)) => return self.attempt_failed(error, context),
        }
        if is_secure {
            return self.secure(context);
        }
        self.connected(context);
        self.forward(context)
    }

    pub(super) fn connected(&mut self, context: &Context<'_>) {
        let (Stage::Dialling(dial) | Stage::Securing(dial)) = &mut self.stage else { return };
        let endpoint = Arc::clone(dial.endpoint());
        let (source, asked) = (dial.source, dial.was_asked());
        let left = dial.deadline.saturating_duration_since(context.now);
        let took = dial.settings().connect_timeout.saturating_sub(left);
        let (held, member) = dial.succeeded(context.now);
        if let Some(record) = &mut self.record {
            record.endpoint = Some(Arc::clone(&endpoint));
            if let Some(tally) = &mut record.tally {
                tally.connect = Some(took);
            }
        }
        let shard = self.shard(context.worker);
        shard.connected(took);
        match source {
            Source::Node => {}
            Source::Client => {
                endpoint.answers.came(context.now);
                self.record().preserved = Some(context.preserving.count());
            }
            Source::Instead(why) => {
                if why == NotPreserved::Unanswered && asked {
                    endpoint.answers.stayed_away(context.now);
                }
                shard.not_preserved(why);
                if self.owner.stats.is_news(why) {
                    let route = self.route.as_ref().map(|stats| stats.route.to_string());
                    tracing::warn!(route, endpoint = %endpoint.address, %why, "a client's address is not \
                        preserved; others of this listener like it are counted and not told of");
                }
            }
        }
        self.stage = Stage::Open;
        if held.is_some() {
            let record = self.record();
            record.held = held;
            record.departing = member.map(Departing::new);
        }
    }
}
