//! Objects of any kind as an API server shows them: read in pages, bounded in number and time, and never
//! understood further than they are asked for.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use vipgate_api::Kind;

/// One question may take so long.
const PATIENCE: Duration = Duration::from_secs(15);
/// Objects of one answer.
const PAGE: u32 = 500;

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    /// Of this namespace only.
    pub(crate) namespace: Option<String>,
}

impl Place {
    pub(crate) fn new(group: &str, version: &str, plural: &str) -> Self {
        let [group, version, plural] = [group, version, plural].map(str::to_owned);
        Self { group, version, plural, namespace: None }
    }

    /// Of a kind that vipgate reads, in this version.
    pub(crate) fn of_kind(kind: Kind, version: &str) -> Self {
        Self::new(kind.group(), version, &kind.plural())
    }

    pub(crate) fn in_namespace(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        // The kind is not in the way that leads there.
        let gvk = GroupVersionKind::gvk(&self.group, &self.version, &self.plural);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &self.plural);
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        self.namespace.iter().try_for_each(|namespace| write!(f, " in {namespace}"))
    }
}

/// Some objects, and whether there are more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) more: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// The API server knows no such kind.
    #[error("{0} are not served by this API server")]
    NotServed(String),
    /// Whoever asks may not.
    #[error("{0} may not be read with this kubeconfig: {1}")]
    Refused(String, String),
    /// Anything else.
    #[error("{0} cannot be read: {1}")]
    Failed(String, String),
}

impl Unread {
    fn of(place: &Place, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(refusal) if refusal.code == 404 => Self::NotServed(place.to_string()),
            kube::Error::Api(refusal) if matches!(refusal.code, 401 | 403) => {
                Self::Refused(place.to_string(), refusal.message.clone())
            }
            error => Self::Failed(place.to_string(), error.to_string()),
        }
    }
}

async fn in_time<T>(
    place: &Place,
    asked: impl Future<Output = kube::Result<T>>,
) -> Result<T, Unread> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| Unread::of(place, &error)),
        Err(_) => Err(Unread::Failed(place.to_string(), format!("no answer within {PATIENCE:?}"))),
    }
}

/// Up to so many objects.
pub(crate) async fn list(client: &Client, place: &Place, at_most: usize) -> Result<List, Unread> {
    let api = place.api(client);
    let mut list = List::default();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = in_time(place, api.list(&params)).await?;
        let kind = page.types.kind.trim_end_matches("List").to_owned();
        let version = page.types.api_version;
        for object in page.items {
            let Ok(mut object) = serde_json::to_value(object) else { continue };
            // What stands in a list does not say what it is.
            object["apiVersion"] = version.clone().into();
            object["kind"] = kind.clone().into();
            list.items.push(object);
        }
        let next = page.metadata.continue_.filter(|next| !next.is_empty());
        list.more = next.is_some();
        match next {
            Some(next) if list.items.len() < at_most => params = params.continue_token(&next),
            _ => break,
        }
    }
    list.more |= list.items.len() > at_most;
    list.items.truncate(at_most);
    Ok(list)
}

/// One object, if it is there.
pub(crate) async fn get(
    client: &Client,
    place: &Place,
    name: &str,
) -> Result<Option<Value>, Unread> {
    let object = in_time(place, place.api(client).get_opt(name)).await?;
    Ok(object.and_then(|object| serde_json::to_value(object).ok()))
}
