//! `vipgate rebalance`: has VIPs spread over the nodes again.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use serde::Deserialize;
use serde_json::json;
use vipgate_api::Kind;
use vipgate_api::vipgate::Speaker;
use vipgate_controller::cluster;

use crate::args::RebalanceArgs;
use crate::ask::{self, Whom};
use crate::speaker::members::REBALANCE;
use crate::why::cluster::{api, list};
use crate::why::runtime;

#[derive(Deserialize)]
struct Answer {
    rebalance: String,
}

/// Asks for it, and says what happens then.
pub(crate) fn run(args: &RebalanceArgs) -> Result<ExitCode> {
    let words = match ask::whom(&args.ask) {
        Whom::Process(socket) => {
            let answer: Answer = ask::process(socket.as_deref(), "rebalance")?;
            answer.rebalance
        }
        Whom::Cluster(kubeconfig) => in_cluster(&kubeconfig)?,
    };
    println!("{words}");
    Ok(ExitCode::SUCCESS)
}

/// By an annotation on each Speaker: whichever sees it tells the others.
fn in_cluster(kubeconfig: &Path) -> Result<String> {
    runtime()?.block_on(async {
        let client = cluster::connect(Some(kubeconfig)).await?;
        let speakers: Vec<Speaker> = list(&client, Kind::Speaker).await?;
        ensure!(!speakers.is_empty(), "there is no Speaker object: does a speaker run?");
        let now = jiff::Timestamp::now().to_string();
        let patch = json!({"metadata": {"annotations": {REBALANCE: now}}});
        let objects = api(&client, Kind::Speaker);
        for speaker in &speakers {
            let name = speaker.metadata.name.as_deref().unwrap_or_default();
            let patched =
                objects.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            patched.with_context(|| format!("Speaker {name} cannot be annotated"))?;
        }
        Ok("every node takes the VIPs that the rule would give it, one after the other, for at most a \
            minute"
            .to_owned())
    })
}
