//! A watch of one kind that knows, at each moment, which objects are not yet as they are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use tokio_util::sync::CancellationToken;
use vipgate_lab::patience;

use super::requests;
use crate::site::Site;

/// Ends with the handle.
pub(super) struct Follower {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    stopped: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    objects: BTreeMap<String, (DynamicObject, Instant)>,
    wrong: BTreeSet<String>,
    /// When the last object came.
    last: Option<Instant>,
}

impl Follower {
    /// Follows all objects of a kind. `is_right` says whether one is as it is to be.
    pub(super) fn start(
        site: &Site,
        kind: &'static str,
        is_right: fn(&DynamicObject) -> bool,
    ) -> Self {
        let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
        let stopped = CancellationToken::new();
        let kubeconfig = site.cluster.kubeconfig().to_owned();
        let (shared, token) = (Arc::clone(&seen), stopped.clone());
        let follow = move || {
            requests::with_client_here(&kubeconfig, async |client| {
                let all = watcher(requests::api(client, kind), watcher::Config::default());
                let each = all.for_each(|event| {
                    let applied = match event {
                        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                            object
                        }
                        _ => return std::future::ready(()),
                    };
                    let (seen, changed) = &*shared;
                    seen.lock().unwrap().take(applied, is_right);
                    changed.notify_all();
                    std::future::ready(())
                });
                token.run_until_cancelled(each).await;
            });
        };
        // A thread is in the namespace of the one that starts it.
        let thread = site.client.enter(|| thread::spawn(follow));
        Self { seen, stopped, thread: Some(thread) }
    }

    /// Waits until so many objects are there.
    pub(super) fn wait_for_count(&self, count: usize, within: Duration) {
        self.wait(within, |seen| (seen.objects.len() >= count).then_some(()));
    }

    /// Waits until every object is as it is to be; returns when the last one became it.
    pub(super) fn wait_until_all_are_right(&self, within: Duration) -> Instant {
        self.wait(within, |seen| seen.last.filter(|_| seen.wrong.is_empty()))
    }

    /// Waits until an object is so; returns when that was seen.
    pub(super) fn wait_for(
        &self,
        name: &str,
        within: Duration,
        is: impl Fn(&DynamicObject) -> bool,
    ) -> Instant {
        self.wait(within, |seen| {
            seen.objects.get(name).filter(|(object, _)| is(object)).map(|(_, at)| *at)
        })
    }

    fn wait<T>(&self, within: Duration, found: impl Fn(&Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + patience(within);
        let (seen, changed) = &*self.seen;
        let mut seen = seen.lock().unwrap();
        loop {
            if let Some(found) = found(&seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{}", seen.in_words());
            seen = changed.wait_timeout(seen, left).unwrap().0;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stopped.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Seen {
    fn take(&mut self, object: DynamicObject, is_right: fn(&DynamicObject) -> bool) {
        let (name, now) = (object.metadata.name.clone().unwrap(), Instant::now());
        match is_right(&object) {
            true => drop(self.wrong.remove(&name)),
            false => drop(self.wrong.insert(name.clone())),
        }
        self.objects.insert(name, (object, now));
        self.last = Some(now);
    }

    fn in_words(&self) -> String {
        let one = self.wrong.first().and_then(|name| self.objects.get(name));
        let (all, wrong) = (self.objects.len(), self.wrong.len());
        format!("{all} objects, {wrong} are not as they are to be: {:?}", one.map(|(one, _)| one))
    }
}
