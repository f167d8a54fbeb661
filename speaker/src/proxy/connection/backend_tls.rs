//! TLS with the backend, after it was connected and before the first byte of the client.
//!
//! Nothing of the client is read before the handshake is finished, so another endpoint can be asked when
//! it fails. All of it is inside the time that the attempt to connect has.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Connection, Context, Ending, Stage, Verdict};
use crate::proxy::pump::write_some;
use crate::proxy::stats::ResetReason;
use crate::proxy::tls::backend::explain;
use crate::proxy::token::Side;

impl Connection {
    /// The endpoint is connected: begins the handshake.
    pub(super) fn secure(&mut self, context: &mut Context<'_>) -> Verdict {
        let dial = match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Dialling(dial) => dial,
            other => {
                self.stage = other;
                return Verdict::Wait;
            }
        };
        let late = dial.deadline <= context.now;
        let begun = dial.tls().map(|tls| tls.begin());
        let endpoint = Arc::clone(dial.endpoint());
        self.stage = Stage::Securing(dial);
        match begun {
            // What is wrong is on our side: no endpoint is to blame, and no other would do.
            Some(Err(why)) => {
                endpoint.complained(why);
                Verdict::End(Ending::Reset(ResetReason::BackendTls))
            }
            Some(Ok(tls)) => {
                self.relay.secure_server(tls);
                match self.shake_server(context) {
                    // No timer is left that would end it.
                    Verdict::Wait if late => self.securing_too_long(context),
                    verdict => verdict,
                }
            }
            None => self.shake_server(context),
        }
    }

    /// Goes on with the handshake.
    pub(super) fn shake_server(&mut self, context: &mut Context<'_>) -> Verdict {
        let (Stage::Securing(dial), Some(server)) = (&self.stage, &self.server) else {
            return Verdict::Wait;
        };
        let endpoint = dial.endpoint().clone();
        match self.relay.shake(Side::Server, server.as_fd()) {
            Ok(false) => Verdict::Wait,
            Ok(true) => {
                // By TLS 1.3 it may say only now that it wanted a certificate of ours.
                self.record().endpoint = Some(endpoint);
                self.connected(context);
                self.forward(context)
            }
            Err(_) => {
                let why = self.relay.server_broke().map_or_else(
                    || "it ended the connection in the TLS handshake: check that this port speaks TLS"
                        .to_owned(),
                    explain,
                );
                self.securing_failed(why, context)
            }
        }
    }

    /// The attempt's time is up.
    pub(super) fn securing_too_long(&mut self, context: &mut Context<'_>) -> Verdict {
        let why = "the TLS handshake with it took too long: check that this port speaks TLS";
        self.securing_failed(why.to_owned(), context)
    }

    fn securing_failed(&mut self, why: String, context: &mut Context<'_>) -> Verdict {
        let mut dial = match std::mem::replace(&mut self.stage, Stage::Open) {
            Stage::Securing(dial) => dial,
            other => {
                self.stage = other;
                return Verdict::Wait;
            }
        };
        if let (Some(server), Some(alert)) = (&self.server, self.relay.take_alert(Side::Server)) {
            // For its log: a short write, or none, only leaves it without the reason.
            let _ = write_some(server.as_fd(), &alert);
        }
        self.server = None;
        self.relay.forget_server();
        let again = dial.failed_secure(why);
        self.stage = Stage::Dialling(dial);
        match again {
            true => self.dial(context),
            false => Verdict::End(Ending::Reset(ResetReason::BackendTls)),
        }
    }

    /// Why a connection is reset whose backend failed.
    pub(super) fn backend_failure(&self) -> ResetReason {
        let Some(error) = self.relay.server_broke() else { return ResetReason::ByBackend };
        if let Some(endpoint) = self.record.as_ref().and_then(|record| record.endpoint.as_ref()) {
            endpoint.complained(explain(error));
        }
        ResetReason::BackendTls
    }
}
