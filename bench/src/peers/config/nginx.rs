//! nginx with its module `stream`.

use std::path::Path;

use super::{Port, RECEIVE_BUFFER, each};
use crate::identity::{Identity, NAME};
use crate::service::Kind;
use crate::site::{FRONT, SERVER};

/// `directory`: where it may write.
pub(in crate::peers) fn nginx(
    ports: &[Port],
    threads: usize,
    directory: &Path,
    identity: &Identity,
) -> String {
    const STREAM: &str =
        "proxy_timeout 1h; proxy_connect_timeout 1s; proxy_half_close on; tcp_nodelay on;";
    let servers = each(ports, |port| {
        let Port { front, back, .. } = port;
        let listen = format!("  server {{ listen {FRONT}:{front}");
        match port.kind {
            Kind::Tcp => {
                format!("{listen} backlog=4096; proxy_pass {SERVER}:{back}; {STREAM} }}\n")
            }
            Kind::Udp => format!(
                "{listen} udp reuseport rcvbuf={RECEIVE_BUFFER}; proxy_pass {SERVER}:{back}; proxy_timeout 1m; }}\n"
            ),
            Kind::Terminate => format!(
                "{listen} backlog=4096 ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; \
                 proxy_pass {SERVER}:{back}; {STREAM} }}\n",
                identity.certificate().display(),
                identity.key().display()
            ),
            Kind::Passthrough => format!(
                "  map $ssl_preread_server_name $to{front} {{ {NAME} {SERVER}:{back}; }}\n\
                 {listen} backlog=4096; ssl_preread on; proxy_pass $to{front}; {STREAM} }}\n"
            ),
        }
    });
    let at = directory.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\nworker_processes {threads};\n\
         worker_rlimit_nofile 20000;\npid {at}/pid;\nerror_log {at}/errors warn;\n\
         events {{ worker_connections 19000; }}\nstream {{\n{servers}}}\n"
    )
}
