//! Switches.

use std::sync::Arc;

use crate::Result;
use crate::namespace::Namespace;

/// The device of the bridge inside its namespace.
pub(crate) const DEVICE: &str = "br0";

/// A switch. It floods and learns like a real one, and says nothing itself. It stays as long as
/// its handle or a node joined to it.
#[derive(Debug)]
pub struct Bridge {
    pub(crate) namespace: Arc<Namespace>,
}

impl Bridge {
    pub(crate) fn create(namespace: Namespace) -> Result<Self> {
        // A switch without addresses: what is captured comes from the nodes.
        silence_ipv6(&namespace)?;
        namespace.ip(&format!(
            "link add {DEVICE} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n\
             link set {DEVICE} up"
        ))?;
        Ok(Self { namespace: Arc::new(namespace) })
    }

    /// The name of its namespace, for `ip -n` and `ip netns exec`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }
}

fn silence_ipv6(namespace: &Namespace) -> Result<()> {
    if std::path::Path::new("/proc/sys/net/ipv6").exists() {
        namespace.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    }
    Ok(())
}
