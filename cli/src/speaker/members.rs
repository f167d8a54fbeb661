//! The group of the cluster's speakers: by which key it is joined, whom to look for, and what was held
//! here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use vipgate_api::k8s::Secret;
use vipgate_api::vipgate;
use vipgate_controller::group_key;
use vipgate_speaker::group::{Group, Keyring, Standing};
use vipgate_speaker::node::Speaker;

use crate::run::group::{self, Roll};
use crate::run::state::{State, StateFile};

/// How long after a failure the group is joined again.
const AGAIN: Duration = Duration::from_secs(5);

/// Annotation of any Speaker object: each new value has VIPs spread anew.
pub(crate) const REBALANCE: &str = "vipgate.dev/rebalance";

/// How long the group is not joined while the others cannot read where we are.
const UNANNOUNCED: Duration = Duration::from_secs(5);

/// What this node has to do with the group.
pub(super) struct Members {
    node: String,
    address: SocketAddr,
    /// Whether VIPs are spread anew by themselves.
    rebalance: bool,
    speaker: Arc<Speaker>,
    joined: Option<Joined>,
    /// The keys to join with, and when.
    keys: Option<(Keyring, Instant)>,
    /// What the Speaker objects say of when VIPs were asked to be spread anew.
    asked: BTreeMap<String, String>,
    /// Where the speakers of other nodes say that they are.
    peers: BTreeMap<String, SocketAddr>,
    /// Since when these are all there are. Before, we would take ourselves for the whole group.
    peers_known: Option<Instant>,
    /// Whether the others can read where we are. Of two speakers that start together the one whose
    /// object came later knows the other then.
    announced: bool,
    roll: Roll,
    file: StateFile,
    saved: State,
}

struct Joined {
    group: Arc<Group>,
    standings: watch::Receiver<Arc<Standing>>,
}

impl Members {
    pub(super) fn new(
        node: &str,
        address: SocketAddr,
        rebalance: bool,
        speaker: Arc<Speaker>,
        (file, saved): (StateFile, State),
    ) -> Self {
        Self {
            node: node.to_owned(),
            address,
            rebalance,
            speaker,
            joined: None,
            asked: BTreeMap::new(),
            keys: None,
            peers: BTreeMap::new(),
            peers_known: None,
            announced: false,
            roll: Roll::default(),
            file,
            saved,
        }
    }

    /// Waits until the group says something new, or it is time to join it again.
    pub(super) async fn changed(&mut self) {
        let may = self.may_join_at();
        match (&mut self.joined, &self.keys) {
            (Some(joined), _) => {
                if joined.standings.changed().await.is_err() {
                    std::future::pending().await
                }
            }
            (None, Some((_, at))) if let Some(may) = may => sleep_until(may.max(*at)).await,
            (None, _) => std::future::pending().await,
        }
    }

    /// Takes in a Secret of the install namespace: perhaps it is the key of the group.
    pub(super) fn learn(&mut self, secret: &Secret) -> Option<Result<(), String>> {
        let keys = Keyring::parse(&group_key::text_of(secret)?);
        Some(match (keys, &self.joined) {
            (Ok(keys), Some(joined)) => {
                joined.group.set_keys(keys);
                Ok(())
            }
            (Ok(keys), None) => {
                self.keys = Some((keys, Instant::now()));
                Ok(())
            }
            (Err(error), _) => Err(format!("Secret {}: {error}", group_key::NAME)),
        })
    }

    /// Whether there is a key.
    pub(super) fn has_key(&self) -> bool {
        self.joined.is_some() || self.keys.is_some()
    }

    /// Every Speaker object was told of, or they may not be read.
    pub(super) fn all_met(&mut self) {
        self.peers_known.get_or_insert_with(Instant::now);
    }

    /// Looks whether a user asks for VIPs to be spread anew, on whichever Speaker object. What stood there
    /// before all objects were known is an old wish.
    pub(super) fn heed(&mut self, speaker: &vipgate::Speaker) {
        let metadata = &speaker.metadata;
        let wish = metadata.annotations.as_ref().and_then(|all| all.get(REBALANCE));
        let (Some(name), Some(wish)) = (&metadata.name, wish) else { return };
        let is_new = self.asked.insert(name.clone(), wish.clone()).as_ref() != Some(wish);
        if is_new
            && self.peers_known.is_some()
            && let Some(Joined { group, .. }) = &self.joined
        {
            tracing::info!("VIPs are spread anew over the nodes: asked for on Speaker {name}");
            group.rebalance();
        }
    }

    /// Takes in what our own Speaker object says.
    pub(super) fn introduced(&mut self, own: &vipgate::Speaker) {
        self.announced = own.status.group_address == Some(self.address.to_string());
    }

    /// Whether the others are still to be told where we are.
    pub(super) fn is_to_announce(&self) -> bool {
        self.peers_known.is_some() && !self.announced
    }

    /// From when on the group may be joined, as far as the others are concerned.
    fn may_join_at(&self) -> Option<Instant> {
        let known = self.peers_known?;
        Some(if self.announced { known } else { known + UNANNOUNCED })
    }

    /// Joins the group, when it is time; what is in the way, if that was tried.
    pub(super) fn join(&mut self) -> Option<Result<(), String>> {
        self.may_join_at().filter(|at| *at <= Instant::now())?;
        let (keys, at) = self.keys.take_if(|(_, at)| *at <= Instant::now())?;
        let (node, former) = (&self.node, &self.saved.holds);
        let seeds = self.peers.values().copied().collect();
        match group::join_cluster(self.address, node, keys.clone(), seeds, self.rebalance, former) {
            Ok(group) => {
                tracing::info!(address = %group.address(), "one of the group of speakers");
                self.speaker.join(Arc::clone(&group));
                self.joined = Some(Joined { standings: group.standings(), group });
                Some(Ok(()))
            }
            Err(error) => {
                self.keys = Some((keys, at + AGAIN));
                Some(Err(error.to_string()))
            }
        }
    }

    /// Takes in what another speaker says of itself.
    pub(super) fn met(&mut self, speaker: &vipgate::Speaker) {
        let Some(name) = &speaker.metadata.name else { return };
        match speaker.status.group_address.as_ref().and_then(|address| address.parse().ok()) {
            Some(address) => drop(self.peers.insert(name.clone(), address)),
            None => drop(self.peers.remove(name)),
        }
        self.look();
    }

    /// A speaker is gone.
    pub(super) fn gone(&mut self, name: &str) {
        self.peers.remove(name);
        self.look();
    }

    fn look(&self) {
        if let Some(Joined { group, .. }) = &self.joined {
            group.set_seeds(self.peers.values().copied().collect());
        }
    }

    /// Where the others reach us.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names of the speakers that are there, with our own, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let standing = self.joined.as_ref().map(|joined| joined.standings.borrow().clone());
        let others = standing.iter().flat_map(|standing| standing.others.values());
        let mut names: Vec<String> = others.map(|other| other.name.clone()).collect();
        names.push(self.node.clone());
        names.sort_unstable();
        names
    }

    /// What is to be known of speakers that should be there and are not.
    pub(super) fn missing(&self) -> Vec<String> {
        let standing = self.joined.as_ref().map(|joined| joined.standings.borrow().clone());
        standing.iter().flat_map(|standing| group::missing(standing)).collect()
    }

    /// Says in the log who came and went, and remembers what is held here.
    pub(super) fn settle(&mut self) {
        let Some(joined) = &mut self.joined else { return };
        let standing = Arc::clone(&joined.standings.borrow_and_update());
        self.roll.call(&standing);
        let holds = standing.holds.clone();
        if holds == self.saved.holds {
            return;
        }
        let state = State { holds, ..State::default() };
        // Other tasks of this thread may have a take-over to do meanwhile.
        match tokio::task::block_in_place(|| self.file.save(&state)) {
            Ok(()) => self.saved = state,
            Err(error) => tracing::debug!(%error, "what is held here could not be saved"),
        }
    }
}
