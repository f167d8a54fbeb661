//! HAProxy, in mode tcp; it has no UDP.

use super::{Port, each};
use crate::identity::{Identity, NAME};
use crate::service::Kind;
use crate::site::{FRONT, SERVER};

/// `splice`: pipes of 1 MiB, and every stream through one, rather than as HAProxy finds fit.
pub(in crate::peers) fn haproxy(
    ports: &[Port],
    threads: usize,
    splice: bool,
    identity: &Identity,
) -> String {
    let pipes = if splice { "  tune.pipesize 1048576\n" } else { "" };
    let options = if splice { "  option splice-request\n  option splice-response\n" } else { "" };
    let proxies = each(ports, |port| {
        let Port { front, back, .. } = port;
        match port.kind {
            Kind::Udp => String::new(),
            Kind::Tcp => {
                format!("listen p{front}\n  bind {FRONT}:{front}\n  server one {SERVER}:{back}\n")
            }
            Kind::Terminate => format!(
                "listen p{front}\n  bind {FRONT}:{front} ssl crt {} ssl-min-ver TLSv1.3\n  server one {SERVER}:{back}\n",
                identity.both().display()
            ),
            Kind::Passthrough => format!(
                "frontend p{front}\n  bind {FRONT}:{front}\n  tcp-request inspect-delay 5s\n  \
                 tcp-request content accept if {{ req.ssl_hello_type 1 }}\n  \
                 use_backend b{front} if {{ req.ssl_sni -i {NAME} }}\n\
                 backend b{front}\n  server one {SERVER}:{back}\n"
            ),
        }
    });
    format!(
        "global\n  nbthread {threads}\n  maxconn 7000\n{pipes}defaults\n  mode tcp\n  timeout connect 1s\n  \
         timeout client 1h\n  timeout server 1h\n{options}{proxies}"
    )
}
