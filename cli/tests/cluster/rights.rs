//! Rights: which ones the chart gives, and what happens where one is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::Patch;
use vipgate_lab::eventually;

use crate::site::{NAMESPACE, SOON, Site, VIP, backend, gateway, route, said};

/// By resource (`gateways.gateway.networking.k8s.io`, `leases.coordination.k8s.io/NAME`), the verbs.
type Rights = BTreeMap<String, BTreeSet<String>>;

/// What the bearer of a kubeconfig may do in a namespace, as the API server says it.
fn rights(site: &Site, kubeconfig: &Path, namespace: &str) -> anyhow::Result<Rights> {
    let review = format!(
        "{{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SelfSubjectRulesReview\", \
         \"spec\": {{\"namespace\": \"{namespace}\"}}}}"
    );
    let file = site.cluster.directory().join("review.json");
    std::fs::write(&file, review)?;
    let file = file.to_str().context("a path")?;
    let create = ["create", "--raw", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"];
    let create = create.into_iter().chain(["--filename", file]);
    let printed = site.client.run_within(SOON, site.cluster.kubectl_as(kubeconfig, create))?;
    let review: Value = serde_json::from_str(&printed)?;
    ensure!(review["status"]["incomplete"] == false, "{review}");
    let mut rights = Rights::new();
    for rule in items(&review["status"]["resourceRules"]) {
        for (group, resource) in items(&rule["apiGroups"])
            .flat_map(|group| items(&rule["resources"]).map(move |resource| (group, resource)))
        {
            let name = [text(resource), text(group)].join(".");
            let name = name.trim_end_matches('.').to_owned();
            let names: Vec<_> =
                items(&rule["resourceNames"]).map(|one| format!("{name}/{}", text(one))).collect();
            for name in if names.is_empty() { vec![name] } else { names } {
                let verbs = items(&rule["verbs"]).map(|verb| text(verb).to_owned());
                rights.entry(name).or_default().extend(verbs);
            }
        }
    }
    Ok(rights)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> + Clone {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Those that are not among `others`.
fn beyond(rights: Rights, others: &Rights) -> Rights {
    let left = rights.into_iter().map(|(name, verbs)| {
        let known = others.get(&name).cloned().unwrap_or_default();
        (name, verbs.difference(&known).cloned().collect::<BTreeSet<_>>())
    });
    left.filter(|(_, verbs)| !verbs.is_empty()).collect()
}

fn written(rights: &Rights) -> String {
    let verbs = |verbs: &BTreeSet<String>| verbs.iter().cloned().collect::<Vec<_>>().join(" ");
    rights.iter().map(|(name, all)| format!("  {name}: {}\n", verbs(all))).collect()
}

/// What an account may do that not every account may.
pub(crate) fn of_account(site: &Site, kubeconfig: &Path) -> anyhow::Result<String> {
    let anyone = site.cluster.kubeconfig_of("default", "default")?;
    let anyone = rights(site, &anyone, "default")?;
    let everywhere = beyond(rights(site, kubeconfig, "default")?, &anyone);
    let at_home = beyond(rights(site, kubeconfig, NAMESPACE)?, &anyone);
    let at_home = beyond(at_home, &everywhere);
    Ok(format!("everywhere:\n{}in {NAMESPACE} only:\n{}", written(&everywhere), written(&at_home)))
}

/// `BLESS=1` writes the files of `rights/`; whoever does it says in the commit why a right is needed.
#[test]
fn the_accounts_of_the_chart_have_these_rights_and_no_others() {
    let site = Site::new("accounts");
    let bless = std::env::var_os("BLESS").is_some();
    let compare = |account: &str, file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/rights").join(file);
        let kubeconfig = site.chart().kubeconfig(account).unwrap();
        if bless {
            // Until the API server's own watch has seen the roles; nothing tells when.
            std::thread::sleep(Duration::from_secs(2));
            std::fs::write(&path, of_account(&site, kubeconfig).unwrap()).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        eventually(SOON, || {
            let found = of_account(&site, kubeconfig)?;
            ensure!(found == expected, "{account} may now:\n{found}\n{file} has:\n{expected}");
            Ok(())
        })
        .unwrap();
    };
    assert_eq!(
        site.chart().accounts().collect::<Vec<_>>(),
        ["vipgate-controller", "vipgate-speaker"]
    );
    compare("vipgate-speaker", "speaker.txt");
    compare("vipgate-controller", "controller.txt");
    for companion in ["service-account", "none"] {
        let setting = format!("controller.companion={companion}");
        site.cluster.install_chart(NAMESPACE, &[&setting]).unwrap();
        compare("vipgate-controller", &format!("controller-companion-{companion}.txt"));
    }
}

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/vipgate-controller";

/// Takes a resource out of the controller's role. Returns the rules as they were.
fn without(site: &Site, resource: &str) -> Value {
    let role = site.cluster.api().get(ROLE).unwrap();
    let mut poorer = role.clone();
    let mut taken = 0;
    for rule in poorer["rules"].as_array_mut().unwrap() {
        let resources = rule["resources"].as_array_mut().unwrap();
        let before = resources.len();
        resources.retain(|one| one != resource);
        taken += before - resources.len();
    }
    assert_eq!(taken, 1, "{role}");
    site.cluster.api().replace(ROLE, &poorer).unwrap();
    role["rules"].clone()
}

#[test]
fn a_kind_that_may_not_be_read_is_named_and_the_others_go_on() {
    let site = Site::new("rights");
    site.apply_pool();
    let complete = without(&site, "tcproutes");
    let controller = site.controller("one");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&backend("web", 7000));
    site.apply(&route("v1", "web", "web", "web"));
    controller.wait_for_line("may not list TCPRoute: give this ServiceAccount", SOON).unwrap();
    site.condition("gateway", "web", "Accepted", "True/Accepted");
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    let class_says = |what: &str| -> anyhow::Result<bool> {
        let class = site.get("gatewayclass", "vipgate")?;
        Ok(class["status"]["conditions"].to_string().contains(what))
    };
    eventually(SOON, || {
        ensure!(class_says("may not list TCPRoute")?, "the condition does not say it");
        Ok(())
    })
    .unwrap();
    // Claims end, although one kind is not known: no address belongs to a route.
    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        Ok(())
    })
    .unwrap();

    // Given the right, it goes on without a restart.
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.cluster.api().patch(ROLE, Patch::Merge, &json!({ "rules": complete })).unwrap();
    eventually(SOON * 3, || {
        let route = site.get("tcproute", "web")?;
        let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
        ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
        Ok(())
    })
    .unwrap();
    eventually(SOON, || {
        ensure!(!class_says("may not list TCPRoute")?, "the condition still says it");
        Ok(())
    })
    .unwrap();
}

/// Said of a Gateway, while what is said of others is written.
#[test]
fn a_status_that_may_not_be_written_is_named_and_the_others_are_written() {
    let site = Site::new("mute");
    site.apply_pool();
    let complete = without(&site, "gateways/status");
    let controller = site.controller("one");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&backend("web", 7000));
    site.apply(&route("v1", "web", "web", "web"));
    let named = "may not update the status of Gateway default/web: give this ServiceAccount";
    controller.wait_for_line(named, SOON).unwrap();
    // All the rest goes on, also what comes later.
    let accepted = |route: &str| {
        eventually(SOON, || {
            let route = site.get("tcproute", route)?;
            let accepted = said(&route["status"]["parents"][0]["conditions"], "Accepted");
            ensure!(accepted.as_deref() == Some("True/Accepted"), "{route}");
            Ok(())
        })
        .unwrap();
    };
    accepted("web");
    site.apply(&route("v1", "later", "web", "web"));
    accepted("later");
    site.condition("gatewayclass", "vipgate", "Accepted", "True/Accepted");
    eventually(SOON, || {
        let vip = site.get("vip", VIP)?;
        ensure!(vip["spec"]["users"][0]["name"] == "web", "{vip}");
        site.get("service", "vipgate-web")?;
        let pool = site.cluster.get(["ipaddresspool", "pool", "--namespace", NAMESPACE])?;
        ensure!(pool["status"]["assignedIPv4"] == 1, "{}", pool["status"]);
        Ok(())
    })
    .unwrap();
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: lb}\nspec: {type: LoadBalancer, \
         loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}\n",
    );
    site.condition("service", "lb", "vipgate.dev/AddressAssigned", "False/Pending");
    let web = site.get("gateway", "web").unwrap();
    assert_ne!(said(&web["status"]["conditions"], "Accepted").as_deref(), Some("True/Accepted"));

    // Given the right, it is said without a restart.
    site.cluster.api().patch(ROLE, Patch::Merge, &json!({ "rules": complete })).unwrap();
    site.condition("gateway", "web", "Accepted", "True/Accepted");
}
