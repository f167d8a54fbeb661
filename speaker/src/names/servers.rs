//! Whom to ask: the servers of resolv.conf, read again whenever it is another file, or one that is given.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;

/// Where the servers are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// In a file of this name (resolv.conf(5)), such as `/etc/resolv.conf`.
    File(PathBuf),
    /// It is this one alone.
    At(SocketAddr),
}

impl Servers {
    /// What the host itself asks, unless another server is given.
    pub fn of_host(given: Option<SocketAddr>) -> Self {
        given.map_or_else(|| Self::File("/etc/resolv.conf".into()), Self::At)
    }
}

/// How long a server has to answer, and how often all are asked.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// The resolver of the moment.
#[derive(Debug)]
pub(super) struct Current {
    servers: Servers,
    /// What the file was when it was last read.
    seen: Option<Stamp>,
    resolver: Result<TokioResolver, String>,
}

/// Tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Current {
    /// Reads nothing yet.
    pub(super) fn new(servers: Servers) -> Self {
        let resolver = match &servers {
            Servers::At(server) => build(config_of(*server), ResolverOpts::default()),
            Servers::File(_) => Err(String::new()),
        };
        Self { servers, seen: None, resolver }
    }

    /// The resolver, or why there is none. While a file cannot be read what it said before counts.
    pub(super) fn resolver(&mut self) -> Result<TokioResolver, String> {
        if let Servers::File(path) = &self.servers {
            let stamp = fs::metadata(path).ok().map(|file| Stamp {
                inode: file.ino(),
                length: file.len(),
                modified: (file.mtime(), file.mtime_nsec()),
            });
            if stamp.is_none() || stamp != self.seen {
                self.seen = stamp;
                let read = fs::read(path).map_err(|error| error.to_string());
                let read = read.and_then(|text| {
                    let (config, options) =
                        parse_resolv_conf(text).map_err(|error| error.to_string())?;
                    build(config, options)
                });
                match read {
                    Ok(resolver) => self.resolver = Ok(resolver),
                    Err(error) => {
                        let why =
                            format!("{}: {error}; --resolver gives another server", path.display());
                        tracing::debug!("names are asked for as before: {why}");
                        self.resolver = self.resolver.clone().map_err(|_| why);
                    }
                }
            }
        }
        self.resolver.clone()
    }
}

fn config_of(server: SocketAddr) -> ResolverConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    let server = NameServerConfig::new(server.ip(), true, connections);
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}

/// Answers are kept elsewhere; names mean what DNS says.
fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, String> {
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}
