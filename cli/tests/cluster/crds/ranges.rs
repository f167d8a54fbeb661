//! An API server compares addresses by other means than we do: it has to come to the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::ensure;
use serde_json::json;
use vipgate_api::vipgate::AddressRange;
use vipgate_lab::Result;
use vipgate_lab::cluster::Api;

use super::{collection, object, refusal};

/// Ranges in each object; the most that a pool may have.
const EACH: usize = 256;

pub(super) fn the_api_server_reads_ranges_as_the_planner_does(api: &Arc<Api>) -> Result<()> {
    let mut random = Random(0x5eed);
    for _ in 0..4 {
        let texts: Vec<String> = (0..EACH).map(|_| random.range()).collect();
        let ours: BTreeSet<usize> =
            (0..EACH).filter(|index| texts[*index].parse::<AddressRange>().is_err()).collect();
        ensure!((50..200).contains(&ours.len()), "{} of {EACH} are wrong", ours.len());
        let pool = object("IPAddressPool", "ranges", &json!({"addresses": texts}));
        let all = format!("{}?dryRun=All", collection("IPAddressPool"));
        let words = refusal(api.create(&all, &pool))?;
        let theirs: BTreeSet<usize> = (0..EACH)
            .filter(|index| words.contains(&format!("spec.addresses[{index}]: ")))
            .collect();
        let differ: Vec<_> =
            ours.symmetric_difference(&theirs).map(|index| &texts[*index]).collect();
        ensure!(differ.is_empty(), "{differ:?}");
    }
    Ok(())
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Two addresses that a host may have, which begin with the same bits, in either order.
    fn range(&mut self) -> String {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        let other = u128::from(self.next()) << 64 | u128::from(self.next());
        let same = u32::try_from(self.next() % 129).unwrap_or_default();
        let tail = u128::MAX.checked_shr(same).unwrap_or_default();
        let [first, last] = match self.next().is_multiple_of(2) {
            // 64.0.0.0/2, so that none is in a network of no host.
            true => [wide, wide & !tail | other & tail].map(|bits| {
                let bits = u32::try_from(bits >> 96).unwrap_or_default();
                IpAddr::V4(Ipv4Addr::from_bits(bits >> 2 | 1 << 30))
            }),
            false => [wide, wide & !tail | other & tail]
                .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits >> 3 | 1 << 125))),
        };
        let text = |address: IpAddr, is_long: bool| match address {
            IpAddr::V6(v6) if is_long => {
                v6.segments().map(|group| format!("{group:04X}")).join(":")
            }
            address => address.to_string(),
        };
        let is_long = self.next().is_multiple_of(3);
        let dash = if self.next().is_multiple_of(2) { "-" } else { " - " };
        format!("{}{dash}{}", text(first, is_long), text(last, false))
    }
}
