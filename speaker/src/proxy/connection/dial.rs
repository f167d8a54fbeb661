//! Connecting to the picked target.

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::getpeername;
use rustix::net::sockopt::socket_error;

use super::departed::Departing;
use super::introduce::Unsaid;
use super::{Connection, Context, DEAD, Ending, Stage, Verdict};
use crate::proxy::connect;
use crate::proxy::stats::ResetReason;
use crate::proxy::token::Side;

impl Connection {
    /// Starts attempts until one is under way.
    pub(super) fn dial(&mut self, context: &Context<'_>) -> Verdict {
        while let Stage::Dialling(dial) = &mut self.stage {
            let attempt = connect::start(dial.endpoint().address).and_then(|socket| {
                context.watch(&socket, Side::Server)?;
                Ok(socket)
            });
            match attempt {
                Ok(socket) => {
                    self.server = Some(socket);
                    dial.deadline = context.now + dial.settings().connect_timeout;
                    return Verdict::Arm(dial.deadline);
                }
                Err(error) if connect::is_exhaustion(error) => {
                    return Verdict::End(Ending::Reset(ResetReason::OutOfFiles));
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
        if dial.failed(error) {
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
        let (Stage::Dialling(_), Some(server)) = (&self.stage, &self.server) else {
            return Verdict::Wait;
        };
        if flags.intersects(DEAD) {
            match socket_error(server).and_then(|result| result) {
                // The connection was made and then reset: the endpoint accepted it, so the client
                // gets the reset, and no other endpoint is asked.
                Ok(()) | Err(Errno::CONNRESET | Errno::PIPE) => {
                    self.connected(context);
                    return self.broke(Side::Server, context);
                }
                Err(error) => return self.attempt_failed(error, context),
            }
        }
        if !flags.contains(EventFlags::OUT) {
            return Verdict::Wait;
        }
        match self.introduce() {
            Ok(()) => {}
            Err(Unsaid::NoClient) => return Verdict::End(Ending::Reset(ResetReason::ByClient)),
            Err(Unsaid::Reset) => {
                self.connected(context);
                return self.broke(Side::Server, context);
            }
            Err(Unsaid::Failed(error)) => return self.attempt_failed(error, context),
        }
        self.connected(context);
        self.forward(context)
    }

    fn connected(&mut self, context: &Context<'_>) {
        let Stage::Dialling(dial) = &mut self.stage else { return };
        let left = dial.deadline.saturating_duration_since(context.now);
        let took = dial.settings().connect_timeout.saturating_sub(left);
        let (held, member) = dial.succeeded(context.now);
        self.owner.stats.shard(context.worker).connected(took);
        self.stage = Stage::Open;
        if held.is_some() {
            let record = self.record();
            record.endpoint = held;
            record.departing = member.map(Departing::new);
        }
    }
}
