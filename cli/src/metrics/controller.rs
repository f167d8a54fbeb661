//! What a controller has decided: how full pools are, how much is not as it is written.
//!
//! Only the replica that leads decides, so only that tells; of a replica that stands by there is that it
//! does.

use std::fmt::Write;

use vipgate_api::ObjectKey;
use vipgate_api::vipgate::IpAddressPoolStatus;
use vipgate_controller::facts::{Decided, Facts};

use super::escaped;
use super::text::{Metric, metrics};
use super::vips::BUILD;

/// What a pool has of a family.
struct Share {
    assigned: u64,
    available: u64,
}

const LEADING: [Metric<bool>; 1] = [(
    "vipgate_controller_leading",
    "gauge",
    "1 in the replica that decides and writes.",
    |leads| vec![(None, u64::from(*leads))],
)];

const OF_POOLS: [Metric<Share>; 2] = [
    ("vipgate_pool_addresses_assigned", "gauge", "Addresses of the pool that are given out.", {
        |share| vec![(None, share.assigned)]
    }),
    (
        "vipgate_pool_addresses_available",
        "gauge",
        "Addresses of the pool that are left.",
        |share| vec![(None, share.available)],
    ),
];

const PROBLEMS: &str = "vipgate_problems";

pub(super) fn render(facts: &Facts, leads: bool) -> String {
    let mut out = String::new();
    metrics(&mut out, &BUILD, &[(String::new(), &())]);
    metrics(&mut out, &LEADING, &[(String::new(), &leads)]);
    if let Some(Decided { pools, problems }) = facts.decided.as_ref().filter(|_| leads) {
        let shares: Vec<_> = pools.iter().flat_map(|(key, status)| shares(key, status)).collect();
        let labelled: Vec<_> =
            shares.iter().map(|(labels, share)| (labels.clone(), share)).collect();
        metrics(&mut out, &OF_POOLS, &labelled);
        let _ = write!(
            out,
            "# HELP {PROBLEMS} Problems there are, by kind of object and reason.\n\
             # TYPE {PROBLEMS} gauge\n"
        );
        for ((kind, reason), count) in problems {
            let _ = writeln!(out, "{PROBLEMS}{{kind=\"{kind}\",reason=\"{reason}\"}} {count}");
        }
    }
    out
}

/// Of each family that the pool has addresses of.
fn shares(key: &ObjectKey, status: &IpAddressPoolStatus) -> Vec<(String, Share)> {
    let number = |count: i64| u64::try_from(count).unwrap_or_default();
    let share = |family: &str, assigned: i64, available: i64| {
        let labels = format!("pool=\"{}\",family=\"{family}\"", escaped(&key.name));
        (labels, Share { assigned: number(assigned), available: number(available) })
    };
    let both = [
        share("ipv4", status.assigned_ipv4, status.available_ipv4),
        share("ipv6", status.assigned_ipv6, status.available_ipv6),
    ];
    both.into_iter().filter(|(_, share)| share.assigned + share.available > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let status = IpAddressPoolStatus {
            assigned_ipv4: 3,
            available_ipv4: 0,
            ..IpAddressPoolStatus::default()
        };
        let problem = (("Gateway".to_owned(), "AddressNotAssigned".to_owned()), 2);
        Facts {
            awaited: Vec::new(),
            decided: Some(Decided {
                pools: [(ObjectKey::new("vipgate-system", "lan"), status)].into(),
                problems: [problem].into(),
            }),
        }
    }

    #[test]
    fn a_leader_tells_what_it_decided() {
        let text = render(&facts(), true);
        for line in [
            "vipgate_controller_leading 1\n",
            "vipgate_pool_addresses_assigned{pool=\"lan\",family=\"ipv4\"} 3\n",
            "vipgate_pool_addresses_available{pool=\"lan\",family=\"ipv4\"} 0\n",
            "vipgate_problems{kind=\"Gateway\",reason=\"AddressNotAssigned\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("ipv6"), "a pool without IPv6 is not exhausted of it: {text}");
    }

    #[test]
    fn a_replica_that_stands_by_says_so_and_no_more() {
        let text = render(&facts(), false);
        assert!(text.contains("vipgate_controller_leading 0\n"), "{text}");
        assert!(!text.contains("vipgate_pool") && !text.contains(PROBLEMS), "{text}");
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_every_metric() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let names = LEADING.iter().map(|(name, ..)| *name);
        for name in names.chain(OF_POOLS.iter().map(|(name, ..)| *name)).chain([PROBLEMS]) {
            assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not have {name}");
        }
    }
}
