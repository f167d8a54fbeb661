//! Claims as VirtualIP objects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipgate_api::ObjectKey;
use vipgate_api::vipgate::{VirtualIp, VirtualIpSpec, virtual_ip_address, virtual_ip_name};
use vipgate_planner::{Claim, Claims};

/// The VirtualIPs of a cluster.
#[derive(Debug, Default)]
pub struct Vips(BTreeMap<IpAddr, VirtualIpSpec>);

impl Vips {
    /// Takes in an object; says whether anything changed. One whose name is not the canonical name of
    /// its address is no claim: the name is what makes an address unique.
    pub fn apply(&mut self, vip: &VirtualIp) -> bool {
        let name = vip.metadata.name.clone().unwrap_or_default();
        let address = vip.spec.address;
        if virtual_ip_name(address) != name {
            tracing::error!(
                virtual_ip = name,
                %address,
                "ignored: the name does not belong to the address; it would be {}",
                virtual_ip_name(address)
            );
            return self.delete(&ObjectKey::new("", name));
        }
        self.0.insert(address, vip.spec.clone()).as_ref() != Some(&vip.spec)
    }

    /// Forgets an object; says whether it was a claim.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        virtual_ip_address(&key.name).is_some_and(|address| self.0.remove(&address).is_some())
    }

    /// Takes in what was just written.
    pub fn set(&mut self, spec: VirtualIpSpec) {
        self.0.insert(spec.address, spec);
    }

    /// One of them.
    pub fn get(&self, address: IpAddr) -> Option<&VirtualIpSpec> {
        self.0.get(&address)
    }

    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.keys().copied()
    }

    /// What the planner knows them as.
    pub fn claims(&self) -> Claims {
        Claims(self.0.iter().map(|(address, spec)| (*address, claim(spec))).collect())
    }
}

/// A claim as the planner knows it.
pub fn claim(spec: &VirtualIpSpec) -> Claim {
    let VirtualIpSpec { pool, users, origin, published, .. } = spec.clone();
    Claim { pool, users, origin, published }
}

/// A claim as an object says it.
pub fn spec(address: IpAddr, claim: &Claim) -> VirtualIpSpec {
    let Claim { pool, users, origin, published } = claim.clone();
    VirtualIpSpec { address, pool, origin, published, users }
}
