//! Our own kinds, `vipgate.dev/v1alpha1`. Where MetalLB has the kind, names and meanings are its.

mod backend;
mod l2;
mod pool;
mod range;

pub use backend::{Backend, BackendEndpoint, BackendSpec};
pub use l2::{L2Advertisement, L2AdvertisementSpec};
pub use pool::{IpAddressPool, IpAddressPoolSpec, ServiceAllocation};
pub use range::{AddressRange, AddressRangeError};
