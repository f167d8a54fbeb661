//! News of the group, for one who has to act on some at once, and can have the rest a moment later.
//!
//! Where a group is large, each hand-over is many news for everybody: who takes what, and that it serves. Nobody
//! has to act on most of them, and the processor belongs to the one who has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::member::Standing;
use crate::deadline::until;

/// How long news that can wait may wait for more of the kind.
const GATHERING: Duration = Duration::from_millis(50);

/// How things stand, as far as one was told.
#[derive(Debug)]
pub struct News {
    standings: watch::Receiver<Arc<Standing>>,
    known: Arc<Standing>,
    /// Until when news that can wait are gathered, if there are any.
    gathering: Option<Instant>,
}

impl News {
    pub(super) fn new(mut standings: watch::Receiver<Arc<Standing>>) -> Self {
        let known = Arc::clone(&standings.borrow_and_update());
        Self { standings, known, gathering: None }
    }

    /// How things stood when [`changed`](Self::changed) or [`look`](Self::look) ended last.
    pub fn known(&self) -> &Arc<Standing> {
        &self.known
    }

    /// How things stand now.
    pub fn look(&mut self) -> &Arc<Standing> {
        self.known = Arc::clone(&self.standings.borrow_and_update());
        self.gathering = None;
        &self.known
    }

    /// Waits until something changes that `matters`, or anything else did a while ago; for ever once the
    /// group was left. Whoever awaits it drops it at will: nothing is lost by that.
    pub async fn changed(&mut self, matters: impl Fn(&Standing, &Standing) -> bool) {
        loop {
            tokio::select! {
                changed = self.standings.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    let new = Arc::clone(&self.standings.borrow_and_update());
                    let before = std::mem::replace(&mut self.known, new);
                    if matters(&before, &self.known) {
                        break;
                    }
                    self.gathering.get_or_insert_with(|| Instant::now() + GATHERING);
                }
                () = until(self.gathering) => break,
            }
        }
        self.gathering = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(vips: u8) -> Arc<Standing> {
        let holds = (0..vips).map(|last| ([192, 0, 2, last].into(), 1)).collect();
        Arc::new(Standing { holds, ..Standing::default() })
    }

    #[tokio::test]
    async fn what_matters_comes_at_once_and_the_rest_together() {
        let (sender, receiver) = watch::channel(holding(0));
        let mut news = News::new(receiver);
        let matters = |_: &Standing, new: &Standing| new.holds.len() > 2;
        let start = Instant::now();

        sender.send(holding(1)).unwrap();
        let first = tokio::time::timeout(GATHERING / 2, news.changed(matters)).await;
        assert!(first.is_err(), "it can wait");
        sender.send(holding(2)).unwrap();
        news.changed(matters).await;
        assert!(start.elapsed() >= GATHERING);
        assert_eq!(news.known().holds.len(), 2, "both at once");

        sender.send(holding(1)).unwrap();
        assert!(tokio::time::timeout(Duration::ZERO, news.changed(matters)).await.is_err());
        sender.send(holding(3)).unwrap();
        let waits = tokio::time::timeout(Duration::ZERO, news.changed(matters));
        assert!(waits.await.is_ok(), "what matters waits for nothing");

        sender.send(holding(1)).unwrap();
        assert_eq!(news.look().holds.len(), 1);
        let more = tokio::time::timeout(GATHERING * 2, news.changed(matters)).await;
        assert!(more.is_err(), "what was looked at is no news");
    }
}
