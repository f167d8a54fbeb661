//! Claims become objects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use vipgate_api::vipgate::{VirtualIpSpec, virtual_ip_name};
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use super::changes::contested;
use super::{AT_ONCE, Controller};
use crate::claims;
use crate::pace::Turn;
use crate::watch::Seen;
use crate::writer::Written;

/// After somebody else was faster, when to look again: the watch has told by then.
const SOON: Duration = Duration::from_millis(100);

/// A VirtualIP and what it is to be; nothing when it is to go.
type Wanted = (IpAddr, Option<VirtualIpSpec>);

/// How far claims have come.
pub(super) enum Claimed {
    /// Every claim is an object, or was one until somebody took it away.
    All,
    /// Objects were written; what follows from them is to be seen.
    More,
    /// Not now.
    Later,
}

impl Controller {
    /// Makes the objects what the claims are. Releases go first: an address that is free again may
    /// be wanted by somebody else.
    pub(super) async fn write_claims(&mut self) -> Claimed {
        let wanted: BTreeMap<IpAddr, VirtualIpSpec> = (self.index.planner.claims().0.iter())
            .map(|(address, claim)| (*address, claims::spec(*address, claim)))
            .collect();
        let over = self.index.vips.addresses().filter(|address| !wanted.contains_key(address));
        let over: Vec<_> = over.map(|address| (address, None)).collect();
        let changed = wanted.into_iter().filter(|(a, spec)| self.index.vips.get(*a) != Some(spec));
        let changed: Vec<_> = changed.map(|(address, spec)| (address, Some(spec))).collect();
        let (over, changed) = (self.in_turn(over).await, self.in_turn(changed).await);
        if over.is_empty() && changed.is_empty() {
            return Claimed::All;
        }
        for writes in [over, changed] {
            if !self.write_vips(writes).await {
                return Claimed::Later;
            }
        }
        Claimed::More
    }

    /// Those of the writes whose turn it is. The others wait, because somebody else keeps undoing them;
    /// nobody else waits for them.
    async fn in_turn(&mut self, writes: Vec<Wanted>) -> Vec<Wanted> {
        let now = Instant::now();
        self.pace.forget(now);
        let mut in_turn = Vec::new();
        for (address, spec) in writes {
            match self.pace.judge(address, self.index.vips.get(address), now) {
                Turn::Now => in_turn.push((address, spec)),
                Turn::Wait { until, begins } => {
                    self.try_again(until);
                    if begins {
                        self.tell_of_rival(address).await;
                    }
                }
            }
        }
        in_turn
    }

    async fn tell_of_rival(&mut self, address: IpAddr) {
        let object = vip_of(address);
        let version = Kind::VirtualIp.versions()[0];
        let rival = self.writer.rival(&object, version).await;
        let rival = rival.map_or("somebody".to_owned(), |rival| format!("field manager {rival:?}"));
        tracing::error!(%address, rival, "a fight over a claim: it is written ever more slowly");
        let message = format!(
            "{rival} keeps changing or deleting this claim; vipgate writes it again, ever more slowly: \
             end the other writer, an address has one claim"
        );
        let seen = self.index.seen.get(&object).cloned();
        let seen = seen.unwrap_or_else(|| Arc::new(Seen { version, ..Seen::default() }));
        self.teller.tell(&object, &seen, &[contested(message)]);
    }

    /// Writes or, without a spec, deletes; says whether all could be done.
    async fn write_vips(&mut self, writes: Vec<Wanted>) -> bool {
        let writes = writes.into_iter().map(|(address, spec)| self.write_vip(address, spec));
        let written: Vec<_> =
            futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut all = true;
        let done = Instant::now();
        for (address, object, spec, written) in written {
            if matches!(written, Written::Done(_) | Written::Gone) {
                self.pace.wrote(address, spec.clone(), done);
            }
            match written {
                Written::Done(now) => {
                    self.note(&object, &now, Kind::VirtualIp.versions()[0]);
                    if let Some(spec) = spec {
                        self.index.vips.set(spec);
                    }
                }
                Written::Gone => {
                    self.index.seen.remove(&object);
                    self.index.vips.delete(&object.key);
                }
                Written::Overtaken => {
                    // Somebody else was faster. What is there now counts, and is read.
                    all = false;
                    self.claims_are_fresh = false;
                    self.try_again(Instant::now() + SOON);
                }
                Written::Closed => {
                    all = false;
                    self.later();
                }
                Written::Failed(why) => {
                    all = false;
                    self.complain(&object, why);
                    self.later();
                }
            }
        }
        all
    }

    /// One VirtualIP: created when it has not been seen, which fails when it is there all the same;
    /// changed or deleted only as it was seen.
    fn write_vip(
        &self,
        address: IpAddr,
        spec: Option<VirtualIpSpec>,
    ) -> impl Future<Output = (IpAddr, ObjectRef, Option<VirtualIpSpec>, Written)> + use<> {
        let object = vip_of(address);
        let seen = self.index.seen.get(&object).cloned();
        let (writer, version) = (self.writer.clone(), Kind::VirtualIp.versions()[0]);
        async move {
            let written = match (&spec, &seen) {
                (None, None) => Written::Gone,
                (None, Some(seen)) => writer.delete(&object, version, &seen.resource_version).await,
                (Some(spec), None) => {
                    let body = json!({
                        "apiVersion": Kind::VirtualIp.api_version(),
                        "kind": Kind::VirtualIp.name(),
                        "metadata": {"name": object.key.name},
                        "spec": spec,
                    });
                    writer.create(&object, version, body).await
                }
                (Some(spec), Some(seen)) => {
                    let change = json!({"spec": spec});
                    writer.merge(&object, version, &seen.resource_version, change).await
                }
            };
            (address, object, spec, written)
        }
    }
}

fn vip_of(address: IpAddr) -> ObjectRef {
    ObjectRef::new(Kind::VirtualIp, ObjectKey::new("", virtual_ip_name(address)))
}
