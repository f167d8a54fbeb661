//! What the ServiceAccounts of the chart may do, asked of the API server (SubjectAccessReview).

use futures_util::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use vipgate_api::{GATEWAY_GROUP, VIPGATE_GROUP};

use crate::check::catalogue::Check;
use crate::check::finding::Finding;

/// Verbs of who follows a kind.
const FOLLOW: &[&str] = &["list", "watch"];
const SAY: &[&str] = &["patch"];

/// A right that one of the accounts needs: API group, resource, verbs, and whether in the install namespace only.
type Needed = (&'static str, &'static str, &'static [&'static str], bool);

/// Without these a controller does not work, or leaves something out.
const CONTROLLER: &[Needed] = &[
    (GATEWAY_GROUP, "gatewayclasses", FOLLOW, false),
    (GATEWAY_GROUP, "gateways", FOLLOW, false),
    (GATEWAY_GROUP, "tcproutes", FOLLOW, false),
    (GATEWAY_GROUP, "gateways/status", SAY, false),
    (GATEWAY_GROUP, "tcproutes/status", SAY, false),
    ("", "services", FOLLOW, false),
    ("", "services/status", SAY, false),
    ("", "nodes", FOLLOW, false),
    ("", "namespaces", FOLLOW, false),
    ("", "secrets", FOLLOW, false),
    ("", "configmaps", FOLLOW, false),
    ("discovery.k8s.io", "endpointslices", FOLLOW, false),
    (VIPGATE_GROUP, "ipaddresspools", FOLLOW, false),
    (VIPGATE_GROUP, "ipaddresspools/status", SAY, false),
    (VIPGATE_GROUP, "speakers", FOLLOW, false),
    (VIPGATE_GROUP, "virtualips", &["list", "watch", "create", "patch", "delete"], false),
    ("apiextensions.k8s.io", "customresourcedefinitions", FOLLOW, false),
    ("events.k8s.io", "events", &["create", "patch"], false),
    ("coordination.k8s.io", "leases", &["create"], true),
];

/// And without these a speaker.
const SPEAKER: &[Needed] = &[
    (GATEWAY_GROUP, "gateways", FOLLOW, false),
    (GATEWAY_GROUP, "tcproutes", FOLLOW, false),
    ("", "services", FOLLOW, false),
    ("", "nodes", FOLLOW, false),
    ("", "namespaces", FOLLOW, false),
    ("discovery.k8s.io", "endpointslices", FOLLOW, false),
    (VIPGATE_GROUP, "ipaddresspools", FOLLOW, false),
    (VIPGATE_GROUP, "l2advertisements", FOLLOW, false),
    (VIPGATE_GROUP, "bgppeers", FOLLOW, false),
    (VIPGATE_GROUP, "virtualips", FOLLOW, false),
    (VIPGATE_GROUP, "speakers", &["list", "watch", "create", "patch", "delete"], false),
    (VIPGATE_GROUP, "speakers/status", SAY, false),
    ("", "secrets", FOLLOW, true),
    ("", "configmaps", FOLLOW, true),
];

/// One question and its answer.
#[derive(Clone, Debug)]
pub(super) struct Right {
    /// `vipgate-speaker: list secrets`.
    what: String,
    allowed: Result<bool, String>,
}

/// Asks for all of them.
pub(super) async fn ask(client: &Client, namespace: &str) -> Vec<Right> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let accounts = [("vipgate-controller", CONTROLLER), ("vipgate-speaker", SPEAKER)];
    let questions = accounts.into_iter().flat_map(|(account, rights)| {
        rights.iter().flat_map(move |(group, resource, verbs, here)| {
            verbs.iter().map(move |verb| (account, *group, *resource, *verb, *here))
        })
    });
    let ask = |(account, group, resource, verb, here): (&'static str, &str, &str, &str, bool)| {
        let review = review(account, namespace, group, resource, verb, here);
        let reviews = &reviews;
        let what = format!(
            "{account}: {verb} {resource}{}",
            if here { format!(" in {namespace}") } else { String::new() }
        );
        async move {
            let answer = reviews.create(&PostParams::default(), &review).await;
            let allowed = answer.map(|review| review.status.is_some_and(|status| status.allowed));
            Right { what, allowed: allowed.map_err(|error| error.to_string()) }
        }
    };
    join_all(questions.map(ask)).await
}

fn review(
    account: &str,
    namespace: &str,
    group: &str,
    resource: &str,
    verb: &str,
    here: bool,
) -> SubjectAccessReview {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, part)) => (resource, Some(part.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: here.then(|| namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned);
    let spec = SubjectAccessReviewSpec {
        user: Some(format!("system:serviceaccount:{namespace}:{account}")),
        groups: Some(
            groups.into_iter().chain([format!("system:serviceaccounts:{namespace}")]).collect(),
        ),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

pub(super) fn rights(asked: &[Right]) -> Finding {
    let check = Check::RIGHTS;
    if let Some(error) = asked.iter().find_map(|right| right.allowed.as_ref().err()) {
        return Finding::unseen(
            check,
            format!("the API server does not say what others may do: {error}"),
        );
    }
    let missing: Vec<&str> = asked
        .iter()
        .filter(|right| right.allowed == Ok(false))
        .map(|right| right.what.as_str())
        .collect();
    match &missing[..] {
        [] if asked.is_empty() => Finding::unseen(check, "nothing was asked"),
        [] => Finding::ok(check, format!("{} rights, all there", asked.len())),
        all if all.len() == asked.len() => Finding::error(
            check,
            "neither of the ServiceAccounts may do anything: is vipgate installed in this \
             namespace? (--namespace)",
        ),
        missing => Finding::error(check, format!("missing: {}", missing.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;

    fn right(what: &str, allowed: Result<bool, String>) -> Right {
        Right { what: what.into(), allowed }
    }

    #[test]
    fn what_is_missing_is_named() {
        let well = [right("a: list x", Ok(true))];
        assert_eq!(rights(&well).verdict, Verdict::Ok);
        let some = [well[0].clone(), right("b: patch y", Ok(false))];
        let found = rights(&some);
        assert_eq!((found.verdict, &*found.found), (Verdict::Error, "missing: b: patch y"));
        assert!(rights(&some[1..]).found.contains("--namespace"));
        assert_eq!(rights(&[right("a", Err("no".into()))]).verdict, Verdict::NotLookedAt);
        assert_eq!(rights(&[]).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn a_subresource_is_asked_for_as_one() {
        let review =
            review("vipgate-speaker", "ns", VIPGATE_GROUP, "speakers/status", "patch", false);
        let attributes = review.spec.resource_attributes.unwrap();
        assert_eq!(attributes.resource.as_deref(), Some("speakers"));
        assert_eq!(attributes.subresource.as_deref(), Some("status"));
        assert_eq!(review.spec.user.as_deref(), Some("system:serviceaccount:ns:vipgate-speaker"));
    }
}
