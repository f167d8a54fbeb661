//! Annotations of a Service: ours, and MetalLB's under both of its names.
//!
//! Where several say different things, `vipgate.dev/` goes before `metallb.io/`, and that before
//! `metallb.universe.tf/`; a note says so. An empty value says nothing.

use vipgate_api::k8s::{ObjectMeta, ServiceSpec};

use crate::allocation::{PoolChoice, Sharing, Traffic};

/// Prefixes, the strongest first.
const PREFIXES: [&str; 3] = ["vipgate.dev/", "metallb.io/", "metallb.universe.tf/"];

/// What is annotated: the whole name of each annotation that counts, and its value.
pub(super) struct Annotations {
    pool: Option<(String, String)>,
    addresses: Option<(String, String)>,
    share: Option<(String, String)>,
}

impl Annotations {
    /// Reads them; what is contradicted becomes a note.
    pub(super) fn read(metadata: &ObjectMeta, notes: &mut Vec<String>) -> Self {
        let mut read = |name: &str| {
            let mut found = PREFIXES.iter().filter_map(|prefix| {
                let name = format!("{prefix}{name}");
                let value = metadata.annotations.as_ref()?.get(&name)?.trim().to_owned();
                (!value.is_empty()).then_some((name, value))
            });
            let first = found.next()?;
            for (name, value) in found.filter(|(_, value)| *value != first.1) {
                notes.push(format!(
                    "annotation {name} says {value:?}, but {} says {:?}, which counts: remove one",
                    first.0, first.1
                ));
            }
            Some(first)
        };
        Self {
            pool: read("address-pool"),
            addresses: read("loadBalancerIPs"),
            share: read("allow-shared-ip"),
        }
    }

    /// The pools that are named.
    pub(super) fn pool(&self) -> Option<PoolChoice> {
        let (annotation, names) = self.pool.clone()?;
        Some(PoolChoice { annotation, names })
    }

    /// With whom addresses are shared.
    pub(super) fn sharing(&self, traffic: Traffic) -> Option<Sharing> {
        let (_, key) = self.share.clone()?;
        Some(Sharing { key, traffic: Some(traffic) })
    }

    /// The addresses that are named, as written, and by what: the annotation goes before
    /// `spec.loadBalancerIP`, which names one only and is deprecated.
    pub(super) fn addresses(
        &self,
        spec: &ServiceSpec,
        notes: &mut Vec<String>,
    ) -> (Vec<String>, String) {
        const FIELD: &str = "spec.loadBalancerIP";
        let field = spec.load_balancer_ip.as_deref().map(str::trim).unwrap_or_default();
        let Some((annotation, value)) = &self.addresses else {
            let named = if field.is_empty() { Vec::new() } else { vec![field.to_owned()] };
            return (named, FIELD.to_owned());
        };
        let named = value.split(',').map(str::trim).filter(|text| !text.is_empty());
        let named: Vec<String> = named.map(str::to_owned).collect();
        if !field.is_empty() && !named.iter().any(|text| text == field) {
            notes.push(format!(
                "{FIELD} says {field}, but annotation {annotation} says {value:?}, which counts: \
                 remove one"
            ));
        }
        (named, format!("annotation {annotation}"))
    }
}
