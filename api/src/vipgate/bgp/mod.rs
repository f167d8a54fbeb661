//! What routers are told, and by whom: BGPPeer, BGPAdvertisement, BFDProfile, Community.
//!
//! Each spec knows what is wrong with it by itself ([`Fault`]): manifests are refused with these words,
//! API servers refuse the same by CEL (`crd/rules/bgp.rs`), and the planner leaves out what got past both.

mod advertisement;
mod bfd;
mod community;
mod duration;
mod peer;
mod status;
mod value;

pub use advertisement::{BgpAdvertisement, BgpAdvertisementSpec};
pub use bfd::{BfdProfile, BfdProfileSpec};
pub use community::{Community, CommunityAlias, CommunitySpec};
pub use duration::seconds;
pub use peer::{BgpPeer, BgpPeerSpec, DynamicAsn, PasswordSecret};
pub use status::BgpStatus;
pub use value::{CommunityValue, CommunityValueError, well_known, well_known_names};

use super::Fault;
