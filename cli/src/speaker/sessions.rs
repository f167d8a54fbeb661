//! Events of BGP sessions, on their BGPPeers: when one is established, and when there is none, with the
//! reason in the words of the log.
//!
//! What always holds: of one BGPPeer this node tells at most [`MOST`] events in [`WINDOW`]. What is left out
//! meanwhile is counted, and the next event, which tells how it stands by then, says so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vipgate_api::{ObjectKey, ObjectRef, Reason};
use vipgate_controller::events::{News, Teller};
use vipgate_controller::watch::Seen;
use vipgate_planner::bgp::PeerReport;

/// As many events of one BGPPeer …
const MOST: usize = 6;
/// … in so long.
const WINDOW: Duration = Duration::from_secs(60);

/// Who tells, and of what.
pub(super) struct SessionEvents {
    node: String,
    /// As they were seen, by `namespace/name`.
    peers: BTreeMap<String, (ObjectRef, Arc<Seen>)>,
    sessions: Sessions,
    teller: Teller,
}

impl SessionEvents {
    pub(super) fn new(node: &str, teller: Teller) -> Self {
        let (peers, sessions) = (BTreeMap::new(), Sessions::default());
        Self { node: node.to_owned(), peers, sessions, teller }
    }

    /// Takes in a BGPPeer.
    pub(super) fn applied(&mut self, peer: ObjectRef, seen: Arc<Seen>) {
        self.peers.insert(peer.key.to_string(), (peer, seen));
    }

    /// Forgets one.
    pub(super) fn deleted(&mut self, peer: &ObjectKey) {
        self.peers.remove(&peer.to_string());
    }

    /// Tells what became of the sessions.
    pub(super) fn tell(&mut self, reports: &BTreeMap<String, PeerReport>) {
        for (peer, news) in self.sessions.learn(&self.node, reports, Instant::now()) {
            if let Some((object, seen)) = self.peers.get(&peer) {
                self.teller.news(object, seen, &news);
            }
        }
    }

    /// When there may be something to tell again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sessions.due()
    }
}

/// What was told of each session, by BGPPeer (`namespace/name`).
#[derive(Debug, Default)]
struct Sessions(BTreeMap<String, Session>);

#[derive(Debug, Default)]
struct Session {
    now: Standing,
    told: Standing,
    /// When, lately.
    at: VecDeque<Instant>,
    /// Changes since, that were not told.
    untold: u32,
}

/// How a session stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Nothing is known yet, or nothing worth an event: that a BGPPeer cannot be followed is in its
    /// conditions.
    #[default]
    Unknown,
    Established {
        with: String,
        since: String,
    },
    None(String),
}

impl Standing {
    fn of(report: &PeerReport) -> Self {
        if report.is_established() {
            let address = report.address.as_deref().unwrap_or("the router");
            let asn = report.peer_as.map(|asn| format!(", AS {asn}")).unwrap_or_default();
            return Self::Established {
                with: format!("{address}{asn}"),
                since: report.since.clone(),
            };
        }
        match (&report.last_error, report.reason) {
            (Some(words), None) => Self::None(words.clone()),
            _ => Self::Unknown,
        }
    }
}

impl Sessions {
    /// Takes in how the sessions stand; returns what is to be told now, and of which BGPPeer.
    fn learn(
        &mut self,
        node: &str,
        peers: &BTreeMap<String, PeerReport>,
        now: Instant,
    ) -> Vec<(String, News)> {
        self.0.retain(|peer, _| peers.contains_key(peer));
        let mut news = Vec::new();
        for (peer, report) in peers {
            let session = self.0.entry(peer.clone()).or_default();
            session.learn(Standing::of(report));
            news.extend(session.tell(node, now).map(|one| (peer.clone(), one)));
        }
        news
    }

    fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(Session::due).min()
    }
}

impl Session {
    fn learn(&mut self, standing: Standing) {
        // Between two attempts of a session there is nothing to say of it.
        if standing != self.now && standing != Standing::Unknown {
            self.now = standing;
            self.untold = self.untold.saturating_add(1);
        }
    }

    fn tell(&mut self, node: &str, now: Instant) -> Option<News> {
        while self.at.front().is_some_and(|at| *at + WINDOW <= now) {
            self.at.pop_front();
        }
        if self.untold == 0 || self.at.len() >= MOST {
            return None;
        }
        let more = match self.untold - 1 {
            0 => String::new(),
            1 => " (one change before this was not told)".to_owned(),
            more => format!(" ({more} changes before this were not told)"),
        };
        let is_same = self.now == self.told;
        self.untold = 0;
        self.told = self.now.clone();
        let (reason, is_bad, note) = match &self.now {
            Standing::Unknown => return None,
            Standing::None(_) if is_same && more.is_empty() => return None,
            Standing::None(words) => {
                (Reason::NoSession, true, format!("node {node}: no BGP session: {words}{more}"))
            }
            Standing::Established { with, .. } => {
                let note = format!("node {node}: BGP session established with {with}{more}");
                (Reason::SessionEstablished, false, note)
            }
        };
        self.at.push_back(now);
        Some(News { reason, is_bad, note })
    }

    fn due(&self) -> Option<Instant> {
        let first = self.at.front().filter(|_| self.untold > 0 && self.at.len() >= MOST)?;
        Some(*first + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: &str, since: u32, error: Option<&str>) -> BTreeMap<String, PeerReport> {
        let report = PeerReport {
            state: state.to_owned(),
            since: format!("2026-01-01T00:00:{since:02}Z"),
            address: Some("10.9.0.1:179".to_owned()),
            peer_as: (state == "Established").then_some(65002),
            last_error: error.map(str::to_owned),
            ..PeerReport::default()
        };
        [("lab/tor".to_owned(), report)].into()
    }

    fn notes(
        sessions: &mut Sessions,
        peers: &BTreeMap<String, PeerReport>,
        now: Instant,
    ) -> Vec<String> {
        let news = sessions.learn("n1", peers, now).into_iter();
        news.map(|(_, one)| format!("{} {}", one.reason, one.note)).collect()
    }

    #[test]
    fn each_change_is_told_once_in_the_words_of_the_log() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(notes(&mut sessions, &report("Connect", 0, None), now), [""; 0]);
        let up =
            ["SessionEstablished node n1: BGP session established with 10.9.0.1:179, AS 65002"];
        assert_eq!(notes(&mut sessions, &report("Established", 1, None), now), up);
        assert_eq!(notes(&mut sessions, &report("Established", 1, None), now), [""; 0]);
        let down = report("Connect", 2, Some("ended by us: Hold Timer Expired"));
        let words = ["NoSession node n1: no BGP session: ended by us: Hold Timer Expired"];
        assert_eq!(notes(&mut sessions, &down, now), words);
        assert_eq!(notes(&mut sessions, &down, now), [""; 0], "attempts that fail alike");
        let other = report("Connect", 2, Some("10.9.0.1:179 refuses the connection"));
        assert_eq!(notes(&mut sessions, &other, now).len(), 1);
        // Down and up again between two looks.
        assert_eq!(notes(&mut sessions, &report("Established", 3, None), now), up);
        assert_eq!(notes(&mut sessions, &report("Established", 4, None), now), up);
        // What the conditions say is no event, and who is gone is forgotten.
        let mut held_back = report("Idle", 5, Some("there is no Secret"));
        held_back.values_mut().for_each(|one| one.reason = Some(Reason::InvalidPassword));
        assert_eq!(notes(&mut sessions, &held_back, now), [""; 0]);
        assert_eq!(notes(&mut sessions, &BTreeMap::new(), now), [""; 0]);
        assert!(sessions.0.is_empty());
    }

    #[test]
    fn a_session_that_flaps_is_told_of_so_often_and_no_more() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let mut told: Vec<(Duration, String)> = Vec::new();
        // Up and down each second, for five minutes.
        for second in 0..300 {
            let after = Duration::from_secs(second);
            let peers = match second % 2 {
                0 => report("Established", (second % 60) as u32, None),
                _ => report("Connect", (second % 60) as u32, Some("connection lost: reset")),
            };
            let due = sessions.due();
            let notes = notes(&mut sessions, &peers, start + after);
            assert!(due.is_none_or(|due| notes.is_empty() == (due > start + after)), "{second}");
            told.extend(notes.into_iter().map(|note| (after, note)));
        }
        for (at, _) in &told {
            let within = told.iter().filter(|(other, _)| *other >= *at && *other < *at + WINDOW);
            assert!(within.count() <= MOST, "{told:?}");
        }
        assert_eq!(told.len(), 5 * MOST);
        assert!(told[MOST].1.ends_with("(54 changes before this were not told)"), "{told:?}");

        // It has come to rest: how it stands is told when there is room, and then no more.
        let end = start + Duration::from_secs(300);
        let rest = report("Established", 59, None);
        let first = notes(&mut sessions, &rest, end);
        let due = sessions.due();
        assert!(first.len() == 1 || due.is_some());
        for after in 1..200 {
            notes(&mut sessions, &rest, end + Duration::from_secs(after));
        }
        assert!(sessions.due().is_none());
        assert!(matches!(&sessions.0["lab/tor"].told, Standing::Established { .. }));
    }
}
