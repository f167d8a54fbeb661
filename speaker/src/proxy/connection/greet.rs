//! Until it is known what the client wants: greeting and handshake, or a refusal.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustls::ServerConfig;

use super::{Connection, Context, Ending, Handshake, Stage, Verdict};
use crate::proxy::connect::Dial;
use crate::proxy::farewell::Farewell;
use crate::proxy::hello::{self, Heard, Hello};
use crate::proxy::pace::Turn;
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::Relay;
use crate::proxy::socket;
use crate::proxy::stats::ResetReason;
use crate::proxy::token::Side;

impl Connection {
    /// Looks at what the client has said so far.
    pub(super) fn greet(&mut self, context: &mut Context<'_>) -> Verdict {
        let Stage::Greeting(greeting) = &mut self.stage else { return Verdict::Wait };
        match greeting.turn(context.now) {
            Turn::Now => {}
            Turn::At(_) => return Verdict::Arm(greeting.wake_at()),
            Turn::Later => return Verdict::Wait,
        }
        match greeting.listen(self.client.as_fd(), context.buffer) {
            Heard::NeedMore => Verdict::Wait,
            Heard::Name(name) => Verdict::Choose(name),
            Heard::Gone => Verdict::End(Ending::Reset(ResetReason::ByClient)),
            Heard::Refused(_) if greeting.curt => {
                Verdict::End(Ending::Reset(ResetReason::NotUnderstood))
            }
            Heard::Refused(refusal) => self.refuse(refusal, ResetReason::NotUnderstood, context),
        }
    }

    /// It is known which listener has what the client asks for, and what a handshake with that one
    /// needs; or why it is not served.
    pub(in crate::proxy) fn chosen(
        &mut self,
        terms: Result<Option<Arc<ServerConfig>>, ResetReason>,
        name: Option<String>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Stage::Greeting(greeting) = &self.stage else { return Verdict::Wait };
        match terms {
            Ok(Some(config)) => {
                let (deadline, shortened) = (greeting.deadline, greeting.shortened);
                let accepted = hello::accept(self.client.as_fd()).and_then(|accepted| {
                    accepted.into_connection(config).map_err(|(_, alert)| Refusal::of(alert))
                });
                match accepted {
                    Ok(tls) => {
                        self.relay = Relay::with_client(tls);
                        self.stage = Stage::Handshake(Box::new(Handshake { name, deadline }));
                        match self.shake(context) {
                            Verdict::Wait if shortened => Verdict::Arm(deadline),
                            verdict => verdict,
                        }
                    }
                    Err(refusal) => self.refuse(refusal, ResetReason::Tls, context),
                }
            }
            Ok(None) => Verdict::Pick(name),
            Err(reason) if greeting.curt => Verdict::End(Ending::Reset(reason)),
            Err(reason) => {
                let refusal = match (reason, greeting.hello, name) {
                    (ResetReason::NoName, Hello::Http, _) => Refusal::NotFound,
                    (ResetReason::NoName, Hello::Tls, Some(_)) => Refusal::UnrecognizedName,
                    (ResetReason::NoName, Hello::Tls, None) => Refusal::MissingExtension,
                    (ResetReason::NoCertificate, _, _) => Refusal::HandshakeFailure,
                    // Where nothing is to be served the answer is a reset, as for any other listener.
                    _ => return Verdict::End(Ending::Reset(reason)),
                };
                self.refuse(refusal, reason, context)
            }
        }
    }

    /// Goes on with the handshake.
    pub(super) fn shake(&mut self, context: &mut Context<'_>) -> Verdict {
        let Stage::Handshake(handshake) = &mut self.stage else { return Verdict::Wait };
        let shaken = self.relay.shake(Side::Client, self.client.as_fd());
        match (shaken, self.relay.take_alert(Side::Client)) {
            (Ok(true), _) => Verdict::Pick(handshake.name.take()),
            (Ok(false), _) => Verdict::Wait,
            (Err(_), Some(alert)) => self.refuse(Refusal::Tls(alert), ResetReason::Tls, context),
            (Err(_), None) => Verdict::End(Ending::Reset(ResetReason::ByClient)),
        }
    }

    /// A target was picked: connects.
    pub(in crate::proxy) fn picked(
        &mut self,
        pick: Result<Dial, ResetReason>,
        context: &mut Context<'_>,
    ) -> Verdict {
        match pick {
            Ok(dial) => {
                self.stage = Stage::Dialling(Box::new(dial));
                self.dial(context)
            }
            Err(reason) => Verdict::End(Ending::Reset(reason)),
        }
    }

    /// Tells the client that it is not served. A backend that was connected is reset.
    pub(super) fn refuse(
        &mut self,
        refusal: Refusal,
        reason: ResetReason,
        context: &mut Context<'_>,
    ) -> Verdict {
        if let Some(server) = self.server.take() {
            socket::reset(server);
        }
        if let Some(record) = &mut self.record {
            // It counts there no more.
            (record.held, record.departing, record.preserved) = (None, None, None);
        }
        let farewell = Farewell::new(refusal.bytes(), reason, context.now);
        let deadline = farewell.deadline;
        self.stage = Stage::Farewell(Box::new(farewell));
        match self.part(context) {
            Verdict::Wait => Verdict::Arm(deadline),
            over => over,
        }
    }

    /// Goes on saying why it is not served.
    pub(super) fn part(&mut self, context: &mut Context<'_>) -> Verdict {
        let Stage::Farewell(farewell) = &mut self.stage else { return Verdict::Wait };
        match farewell.run(self.client.as_fd(), context.buffer) {
            true => Verdict::End(Ending::Refused(farewell.reason)),
            false => Verdict::Wait,
        }
    }
}
