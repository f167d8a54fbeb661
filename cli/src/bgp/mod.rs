//! `vipgate bgp`: the sessions with routers, of this host or of every node of a cluster.

mod render;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use vipgate_api::Kind;
use vipgate_api::vipgate::Speaker;
use vipgate_controller::cluster;
use vipgate_planner::bgp::PeerReport;
use vipgate_planner::{NodeReport, Plan};

use crate::args::{BgpArgs, TextOutput};
use crate::ask::{self, Whom};
use crate::status::report::StatusReport;
use crate::why::cluster::list;
use crate::why::runtime;

/// The sessions of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct NodePeers {
    node: String,
    /// By BGPPeer.
    peers: BTreeMap<String, PeerReport>,
}

/// Prints them.
pub(crate) fn run(args: &BgpArgs) -> Result<ExitCode> {
    let nodes = match ask::whom(&args.ask) {
        Whom::Process(socket) => {
            let report: StatusReport = ask::process(socket.as_deref(), "status")?;
            vec![NodePeers { node: report.node, peers: report.peers }]
        }
        Whom::Cluster(kubeconfig) => runtime()?.block_on(async {
            let client = cluster::connect(Some(&kubeconfig)).await?;
            anyhow::Ok(of_speakers(list(&client, Kind::Speaker).await?))
        })?,
    };
    let text = match args.output {
        TextOutput::Text => render::render(&nodes),
        TextOutput::Json => format!("{:#}\n", serde_json::to_value(&nodes)?),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What the Speaker objects say, by node.
fn of_speakers(speakers: Vec<Speaker>) -> Vec<NodePeers> {
    let of_speaker = |speaker: Speaker| NodePeers {
        node: speaker.metadata.name.unwrap_or_default(),
        peers: NodeReport::from_speaker(&speaker.status, &Plan::default()).peers,
    };
    let mut nodes: Vec<NodePeers> = speakers.into_iter().map(of_speaker).collect();
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    nodes
}
