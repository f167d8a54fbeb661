//! The Speaker object of this node: what it says about itself.
//!
//! Guarantees: written by nobody else, at most once a second, not when nothing changed, and never
//! larger than 256 KiB. Who deletes or changes it finds it as it was.
//!
//! Its Node owns it, so that it goes with that, though no speaker is left to take it away
//! ([`Owner`]).
//!
//! Two processes with one node name would take it for each other's damage. So each puts its own name
//! on the object ([`claim`]), and the one that finds another name says so and leaves it alone.

mod claim;

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use vipgate_api::vipgate::{Speaker, SpeakerStatus};
use vipgate_api::{Kind, ObjectRef};
use vipgate_controller::backoff::Backoff;
use vipgate_controller::words::with_causes;

use claim::Claim;

const BETWEEN_WRITES: Duration = Duration::from_secs(1);
/// The object's limit, less what the API server adds.
const MOST_BYTES: usize = 250 * 1024;
const MANAGER: &str = "vipgate-speaker";
/// How often a claim is tried while others write the object at the same time.
const CLAIMS: usize = 4;
/// A farewell does not hold up the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Annotation: the process that the object is of.
const INSTANCE: &str = "vipgate.dev/speaker-instance";

/// `metadata.uid` of the Node; `None` while there is no such Node. An object that names an owner of
/// another uid is deleted by the garbage collector.
pub(super) type Owner = Option<String>;

/// The object.
#[derive(Clone)]
pub(super) struct SpeakerObject {
    api: Api<DynamicObject>,
    node: String,
    /// A name that no other process has.
    instance: String,
}

/// The object as the API server shows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// What it says; `None` when it is not there.
    pub(super) status: Option<SpeakerStatus>,
    /// Its `metadata.resourceVersion`; versions of one kind can be compared as numbers (KEP-5504).
    pub(super) version: Option<u64>,
    /// The process that it is of.
    pub(super) instance: Option<String>,
}

impl Found {
    pub(super) fn of(speaker: &Speaker) -> Self {
        let metadata = &speaker.metadata;
        let version = metadata.resource_version.as_ref();
        let instance = metadata.annotations.as_ref().and_then(|all| all.get(INSTANCE));
        Self {
            status: Some(speaker.status.clone()),
            version: version.and_then(|version| version.parse().ok()),
            instance: instance.cloned(),
        }
    }
}

/// What was written last.
struct Written {
    status: SpeakerStatus,
    version: Option<u64>,
}

impl Written {
    /// Whether the object is not any more as it was written. One that is older was overtaken.
    fn is_lost(&self, found: &Found) -> bool {
        let is_older = found.version.is_some() && found.version < self.version;
        !is_older && found.status.as_ref() != Some(&self.status)
    }
}

impl SpeakerObject {
    pub(super) fn new(client: Client, node: &str, instance: String) -> Self {
        let kind = Kind::Speaker;
        let gvk = GroupVersionKind::gvk(kind.group(), kind.versions()[0], kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
        Self { api: Api::all_with(client, &resource), node: node.to_owned(), instance }
    }

    /// Writes every status, the last one of each second; and again when somebody took it away. Tells
    /// of another process that writes the object.
    pub(super) async fn follow(
        self,
        mut statuses: watch::Receiver<Option<SpeakerStatus>>,
        mut found: watch::Receiver<Found>,
        mut owner: watch::Receiver<Owner>,
        rivals: watch::Sender<Option<String>>,
    ) {
        let mut claim = Claim::of(&self.instance);
        let mut written: Option<Written> = None;
        let mut said = String::new();
        let mut backoff = Backoff::default();
        loop {
            let news = tokio::select! {
                changed = statuses.changed() => changed,
                changed = found.changed() => {
                    let found = found.borrow_and_update();
                    claim.learn(&found, Instant::now());
                    written.take_if(|last| last.is_lost(&found));
                    changed
                }
                changed = owner.changed() => {
                    claim.renew();
                    changed
                }
                () = sleep_until(claim.due(Instant::now())) => {
                    claim.turn(Instant::now());
                    Ok(())
                }
            };
            if news.is_err() {
                return;
            }
            tell(&rivals, &claim);
            if !claim.is_made() {
                written = None;
            }
            // Until it succeeds; each try takes what is newest.
            while claim.may_write(Instant::now()) {
                let Some(wanted) = statuses.borrow_and_update().clone().map(fitted) else { break };
                if written.as_ref().is_some_and(|last| last.status == wanted) {
                    break;
                }
                // Not marked as seen: a claim that was made before has to be made anew for it.
                let its_owner = owner.borrow().clone();
                let outcome = self.write(&wanted, &mut claim, &its_owner).await;
                tokio::time::sleep(BETWEEN_WRITES).await;
                tell(&rivals, &claim);
                match outcome {
                    // Another process has claimed it meanwhile.
                    Ok(_) if !claim.is_made() => break,
                    Ok(version) => {
                        if !said.is_empty() {
                            tracing::info!("the Speaker object could be written again");
                        }
                        said.clear();
                        backoff.reset();
                        written = Some(Written { status: wanted, version });
                    }
                    Err(error) => {
                        let text = in_words(&error);
                        if text != said {
                            tracing::warn!(error = text, "the Speaker object cannot be written");
                            said = text;
                        }
                        tokio::time::sleep(backoff.wait()).await;
                    }
                }
            }
        }
    }

    /// Returns the version that it has now. Without a claim afterwards it is another process's, and was
    /// not written.
    async fn write(
        &self,
        status: &SpeakerStatus,
        claim: &mut Claim,
        owner: &Owner,
    ) -> kube::Result<Option<u64>> {
        if !claim.is_made() && !self.claim(claim, owner).await? {
            return Ok(None);
        }
        match self.write_status(status).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
                match self.claim(claim, owner).await? {
                    true => self.write_status(status).await,
                    false => Ok(None),
                }
            }
            outcome => outcome,
        }
    }

    /// Makes the object, or takes it over, unless another process did so since our last claim: what the
    /// watch brings of that may be too late. Whether it is ours now.
    async fn claim(&self, claim: &mut Claim, owner: &Owner) -> kube::Result<bool> {
        let this_one = ListParams::default().fields(&format!("metadata.name={}", self.node));
        for _ in 0..CLAIMS {
            // A list of one: whoever follows a kind may do that, too.
            let seen = self.api.list(&this_one).await?.items.pop();
            if let Some(speaker) = seen.as_ref().and_then(read) {
                claim.learn(&Found::of(&speaker), Instant::now());
            }
            if !claim.may_write(Instant::now()) {
                return Ok(false);
            }
            let seen = seen.and_then(|object| object.metadata.resource_version);
            match self.apply_claim(owner, seen).await {
                Err(kube::Error::Api(refusal)) if refusal.code == 409 => {}
                outcome => {
                    claim.made(outcome?, Instant::now());
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Refused with a conflict if the object is not of this version any more.
    async fn apply_claim(&self, owner: &Owner, seen: Option<String>) -> kube::Result<Option<u64>> {
        let mut body = self.body();
        if let Some(version) = seen {
            body["metadata"]["resourceVersion"] = version.into();
        }
        body["metadata"]["annotations"] = json!({ INSTANCE: self.instance });
        // An owner that is left out here is taken out there: it is ours.
        if let Some(uid) = owner {
            body["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}]);
        }
        let params = PatchParams::apply(MANAGER).force();
        Ok(version(&self.api.patch(&self.node, &params, &Patch::Apply(&body)).await?))
    }

    async fn write_status(&self, status: &SpeakerStatus) -> kube::Result<Option<u64>> {
        let mut body = self.body();
        body["status"] = json!(status);
        let params = PatchParams::apply(MANAGER).force();
        Ok(version(&self.api.patch_status(&self.node, &params, &Patch::Apply(&body)).await?))
    }

    fn body(&self) -> serde_json::Value {
        json!({
            "apiVersion": Kind::Speaker.api_version(),
            "kind": Kind::Speaker.name(),
            "metadata": {"name": self.node},
        })
    }

    /// Takes the object away: this node serves nothing any more. Not that of another process.
    pub(super) async fn delete(&self, found: &watch::Receiver<Found>) {
        if found.borrow().instance.as_ref().is_some_and(|other| *other != self.instance) {
            return;
        }
        let params = DeleteParams::default();
        let deletion = self.api.delete(&self.node, &params);
        match tokio::time::timeout(FAREWELL, deletion).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Speaker object is left behind"),
            Err(_) => tracing::warn!("the Speaker object is left behind: no answer in time"),
        }
    }
}

fn tell(rivals: &watch::Sender<Option<String>>, claim: &Claim) {
    rivals.send_if_modified(|told| {
        let rival = claim.rival().map(str::to_owned);
        let is_news = *told != rival;
        *told = rival;
        is_news
    });
}

/// One that was changed by hand into something else counts as left from before.
fn read(object: &DynamicObject) -> Option<Speaker> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}

fn version(object: &DynamicObject) -> Option<u64> {
    object.metadata.resource_version.as_ref()?.parse().ok()
}

/// Waits for a moment; for ever when there is none.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A status that the object has room for. What everybody needs stays longest: messages go first.
fn fitted(mut status: SpeakerStatus) -> SpeakerStatus {
    let fits = |status: &SpeakerStatus| {
        serde_json::to_vec(status).is_ok_and(|bytes| bytes.len() <= MOST_BYTES)
    };
    if !fits(&status) {
        status.errors =
            vec!["the whole status has no room in this object: messages are left out".to_owned()];
        for failed in &mut status.failed_listeners {
            failed.message = "see the log of the speaker".to_owned();
        }
        for vip in &mut status.vips {
            vip.message = None;
        }
        for peer in &mut status.peers {
            peer.last_error = None;
        }
    }
    // Thousands of Gateways: what is said of the rest of them is nothing, not that they are well. So
    // an object goes with the first of its failed listeners that goes.
    while !(fits(&status) || status.vips.is_empty() && status.plan.is_empty()) {
        status.truncated = true;
        status.vips.truncate(status.vips.len() * 7 / 8);
        status.plan.truncate(status.plan.len() * 7 / 8);
        let kept = status.failed_listeners.len() * 7 / 8;
        let gone: BTreeSet<ObjectRef> =
            status.failed_listeners.drain(kept..).map(|failed| failed.source()).collect();
        status.plan.retain(|planned| !gone.contains(&planned.object));
    }
    status
}

fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(refusal) if refusal.code == 404 => {
            "speakers.vipgate.dev is not served: install the CRDs of vipgate (vipgate crds)"
                .to_owned()
        }
        kube::Error::Api(refusal) => refusal.message.clone(),
        error => with_causes(error),
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::ObjectKey;
    use vipgate_api::vipgate::{
        FailedListener, ListenerFault, PlannedObject, SpeakerVip, SpeakerVipState,
    };

    use super::*;

    #[test]
    fn a_status_without_room_loses_its_messages_first() {
        let vip = |n: u32| SpeakerVip {
            message: Some("m".repeat(1000)),
            ..SpeakerVip::new(std::net::Ipv4Addr::from(n).into(), SpeakerVipState::Failed)
        };
        let status =
            SpeakerStatus { vips: (0..1000).map(vip).collect(), ..SpeakerStatus::default() };
        let fitted = super::fitted(status);
        assert_eq!((fitted.vips.len(), fitted.truncated), (1000, false));
        assert!(serde_json::to_vec(&fitted).unwrap().len() <= MOST_BYTES);

        let status =
            SpeakerStatus { vips: (0..10_000).map(vip).collect(), ..SpeakerStatus::default() };
        let fitted = super::fitted(status);
        assert!(serde_json::to_vec(&fitted).unwrap().len() <= MOST_BYTES);
        assert!(fitted.vips.len() > 3000, "{}", fitted.vips.len());
        assert!(fitted.truncated);
    }

    #[test]
    fn an_object_goes_with_the_first_of_its_failed_listeners_that_has_no_room() {
        let gateway = |n: u32| ObjectKey::new("default", format!("gateway-{n}"));
        let planned = |n: u32| PlannedObject {
            object: ObjectRef::new(Kind::Gateway, gateway(n)),
            generation: 1,
            uid: Some(format!("{n:036}")),
        };
        let failed = |n: u32| FailedListener {
            gateway: gateway(n),
            listener_set: None,
            name: "tcp".to_owned(),
            address: std::net::Ipv4Addr::from(n).into(),
            fault: ListenerFault::NotBound,
            message: "port 80 is in use".to_owned(),
        };
        let status = SpeakerStatus {
            plan: (0..2000).map(planned).collect(),
            failed_listeners: (0..2000).rev().map(failed).collect(),
            ..SpeakerStatus::default()
        };
        let fitted = super::fitted(status);
        assert!(fitted.truncated && !fitted.plan.is_empty());
        for planned in &fitted.plan {
            let said = fitted.failed_listeners.iter().any(|f| f.source() == planned.object);
            assert!(said, "{} looks as if all of it were bound", planned.object);
        }
    }

    #[test]
    fn what_is_overtaken_is_not_lost() {
        let status = |member: &str| SpeakerStatus {
            members: vec![member.to_owned()],
            ..SpeakerStatus::default()
        };
        let written = Written { status: status("new"), version: Some(7) };
        let found = |version, member| {
            let status = Some(status(member));
            Found { version, status, instance: None }
        };
        assert!(!written.is_lost(&found(Some(7), "new")));
        assert!(!written.is_lost(&found(Some(6), "old")));
        assert!(written.is_lost(&found(Some(8), "other")));
        assert!(written.is_lost(&Found::default()));
    }
}
