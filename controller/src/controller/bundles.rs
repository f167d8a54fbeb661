//! ConfigMaps that somebody refers to: what is in them is read one by one ([`crate::bundles`]).

use std::sync::Arc;

use futures_util::StreamExt;
use kube::api::DynamicObject;
use vipgate_api::k8s::ConfigMap;
use vipgate_api::{Age, Kind, Object, ObjectRef};

use super::{AT_ONCE, Controller};
use crate::writer::Unread;

/// How much is known of what is in the ConfigMaps that somebody refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// The API server did not answer: nothing can be said of them.
    #[default]
    Nothing,
    /// It keeps some to itself, which count as absent. Copies stay.
    Some,
    /// Everything.
    All,
}

impl Controller {
    /// Reads those that were not read since they changed. Says whether the planner has news.
    pub(super) async fn read_bundles(&mut self) -> bool {
        let wanted = self.index.planner.config_maps_wanted();
        let mut news = false;
        for key in self.index.bundles.forget(&wanted) {
            news |= self.index.planner.delete(&ObjectRef::new(Kind::ConfigMap, key));
        }
        let due = self.index.bundles.due(&wanted);
        let writer = &self.writer;
        let version = Kind::ConfigMap.versions()[0];
        let questions = due.into_iter().map(|key| async move {
            let object = ObjectRef::new(Kind::ConfigMap, key);
            let answer = writer.read(&object, version).await;
            (object, answer)
        });
        let answers: Vec<_> =
            futures_util::stream::iter(questions).buffer_unordered(AT_ONCE).collect().await;
        self.bundles = Known::All;
        for (object, answer) in answers {
            match answer.and_then(|found| found.map(|found| parsed(found, &object)).transpose()) {
                Ok(found) => {
                    news |= match found {
                        Some(map) => {
                            let map = Arc::new(self.index.bundles.trimmed(map));
                            self.index.planner.apply(Object::ConfigMap(map), Age::default())
                        }
                        None => self.index.planner.delete(&object),
                    };
                    self.said.remove(&object);
                    self.index.bundles.read(object.key);
                }
                Err(Unread::Refused(why)) => {
                    self.bundles = self.bundles.min(Known::Some);
                    self.complain(&object, why);
                    self.later();
                }
                Err(Unread::Unanswered(why)) => {
                    self.bundles = Known::Nothing;
                    self.complain(&object, why);
                }
            }
        }
        news
    }
}

fn parsed(found: DynamicObject, object: &ObjectRef) -> Result<ConfigMap, Unread> {
    found
        .try_parse()
        .map_err(|error| Unread::Unanswered(format!("{object} cannot be read: {error}")))
}
