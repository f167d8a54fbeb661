//! ROUTE-REFRESH (RFC 2918, RFC 7313).

use super::error::WireError;
use super::{Family, take_u8, take_u16};

/// A received ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Everything of this family is to be sent again.
    Request(Family),
    /// A family we do not have, or a marker of RFC 7313, which we did not offer.
    Ignored,
}

impl Refresh {
    pub(super) fn decode(mut body: &[u8]) -> Result<Refresh, WireError> {
        let bytes = &mut body;
        let afi = take_u16(bytes).ok_or(WireError::Refresh)?;
        let subtype = take_u8(bytes).ok_or(WireError::Refresh)?;
        let safi = take_u8(bytes).ok_or(WireError::Refresh)?;
        if !bytes.is_empty() {
            return Err(WireError::Refresh);
        }
        let family = Family::from_numbers(afi, safi).filter(|_| subtype == 0);
        Ok(family.map_or(Refresh::Ignored, Refresh::Request))
    }
}
