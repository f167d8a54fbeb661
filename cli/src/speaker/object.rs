//! The Speaker object of this node: what it says about itself.
//!
//! Guarantees: written by nobody else, at most once a second, not when nothing changed, and never
//! larger than 256 KiB.

use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use vipgate_api::Kind;
use vipgate_api::vipgate::SpeakerStatus;

const BETWEEN_WRITES: Duration = Duration::from_secs(1);
/// The object's limit, less what the API server adds.
const MOST_BYTES: usize = 250 * 1024;
const MANAGER: &str = "vipgate-speaker";
/// A farewell does not hold up the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The object.
#[derive(Clone)]
pub(super) struct SpeakerObject {
    api: Api<DynamicObject>,
    node: String,
}

impl SpeakerObject {
    pub(super) fn new(client: Client, node: &str) -> Self {
        let kind = Kind::Speaker;
        let gvk = GroupVersionKind::gvk(kind.group(), kind.versions()[0], kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
        Self { api: Api::all_with(client, &resource), node: node.to_owned() }
    }

    /// Writes every status, the last one of each second.
    pub(super) async fn follow(self, mut statuses: watch::Receiver<Option<SpeakerStatus>>) {
        let mut said = String::new();
        while statuses.changed().await.is_ok() {
            // Written until it succeeds; each try takes what is newest.
            loop {
                let status = statuses.borrow_and_update().clone();
                let Some(status) = status else { break };
                let outcome = self.write(status).await;
                tokio::time::sleep(BETWEEN_WRITES).await;
                match outcome {
                    Ok(()) => {
                        if !said.is_empty() {
                            tracing::info!("the Speaker object could be written again");
                        }
                        said.clear();
                        break;
                    }
                    Err(error) => {
                        let text = error.to_string();
                        if text != said {
                            tracing::warn!(error = text, "the Speaker object cannot be written");
                            said = text;
                        }
                    }
                }
            }
        }
    }

    async fn write(&self, status: SpeakerStatus) -> kube::Result<()> {
        let body = self.body(json!({ "status": fitted(status) }));
        let params = PatchParams::apply(MANAGER).force();
        match self.api.patch_status(&self.node, &params, &Patch::Apply(&body)).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => {
                let new = self.body(json!({}));
                self.api.patch(&self.node, &params, &Patch::Apply(&new)).await?;
                self.api.patch_status(&self.node, &params, &Patch::Apply(&body)).await?;
            }
            outcome => drop(outcome?),
        }
        Ok(())
    }

    fn body(&self, mut more: serde_json::Value) -> serde_json::Value {
        more["apiVersion"] = Kind::Speaker.api_version().into();
        more["kind"] = Kind::Speaker.name().into();
        more["metadata"] = json!({ "name": self.node });
        more
    }

    /// Takes the object away: this node serves nothing any more.
    pub(super) async fn delete(&self) {
        let params = DeleteParams::default();
        let deletion = self.api.delete(&self.node, &params);
        match tokio::time::timeout(FAREWELL, deletion).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the Speaker object is left behind"),
            Err(_) => tracing::warn!("the Speaker object is left behind: no answer in time"),
        }
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
    }
    while !fits(&status) && status.vips.pop().is_some() {}
    status
}

#[cfg(test)]
mod tests {
    use vipgate_api::vipgate::{SpeakerVip, SpeakerVipState};

    use super::*;

    #[test]
    fn a_status_without_room_loses_its_messages_first() {
        let vip = |n: u32| SpeakerVip {
            address: std::net::Ipv4Addr::from(n).into(),
            state: SpeakerVipState::Failed,
            interfaces: Vec::new(),
            conflict_mac: None,
            message: Some("m".repeat(1000)),
        };
        let status =
            SpeakerStatus { vips: (0..1000).map(vip).collect(), ..SpeakerStatus::default() };
        let fitted = fitted(status);
        assert_eq!(fitted.vips.len(), 1000);
        assert!(serde_json::to_vec(&fitted).unwrap().len() <= MOST_BYTES);
    }
}
