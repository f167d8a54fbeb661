use std::sync::Arc;

use vipgate_api::{Age, Object, Stored};
use vipgate_planner::{Outcome, Planner, Role};

use super::*;

struct Site {
    planner: Planner,
    outcome: Outcome,
    accounts: Vec<Arc<ServiceAccount>>,
}

impl Site {
    fn new(objects: &[(Kind, Value)]) -> Self {
        let mut planner = Planner::in_role(Role::Controller);
        let mut accounts = Vec::new();
        let class = json!({"metadata": {"name": "vipgate"},
            "spec": {"controllerName": vipgate_api::CONTROLLER_NAME}});
        let class = (Kind::GatewayClass, class);
        for (kind, json) in std::iter::once(&class).chain(objects) {
            match Object::from_json(*kind, json.clone()).unwrap() {
                Object::ServiceAccount(account) => accounts.push(account),
                object => drop(planner.apply(object, Age::default())),
            }
        }
        let outcome = planner.run();
        Self { planner, outcome, accounts }
    }

    fn changes(&self) -> Vec<Change> {
        self.changes_for(Companion::Service, true)
    }

    fn changes_for(&self, companion: Companion, complete: bool) -> Vec<Change> {
        let Outcome { plan, statuses, .. } = &self.outcome;
        let mut accounts = Shelf::new();
        for account in &self.accounts {
            let stored = Stored { object: Arc::clone(account), age: Age::default() };
            accounts.insert(account.key(), stored);
        }
        changes(self.planner.world(), &accounts, statuses, plan, companion, complete)
    }

    fn created(&self) -> Value {
        let changes = self.changes();
        let [Change::Create(_, body)] = changes.as_slice() else { panic!("{changes:?}") };
        body.clone()
    }
}

fn gateway(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "games", "uid": format!("uid-{name}")},
        "spec": {
            "gatewayClassName": "vipgate",
            "listeners": [
                {"name": "a", "port": 80, "protocol": "TCP"},
                {"name": "b", "port": 53, "protocol": "UDP"},
                {"name": "c", "port": 443, "protocol": "HTTPS", "hostname": "a.example"},
                {"name": "d", "port": 443, "protocol": "HTTPS", "hostname": "b.example"},
            ],
            "infrastructure": {"labels": {"team": "red"}, "annotations": {"dns": "a.example"}},
        }
    })
}

#[test]
fn a_gateway_has_a_service_with_its_labels_and_ports() {
    let site = Site::new(&[(Kind::Gateway, gateway("web"))]);
    let service = site.created();
    assert_eq!(service["metadata"]["name"], "vipgate-web");
    assert_eq!(service["metadata"]["labels"], json!({"team": "red", GATEWAY_NAME: "web"}));
    assert_eq!(service["metadata"]["annotations"]["dns"], "a.example");
    assert_eq!(service["metadata"]["ownerReferences"][0]["uid"], "uid-web");
    let ports: Vec<&str> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(ports, ["tcp-80", "tcp-443", "udp-53"]);
    // Once it is there, nothing is to be done.
    let site = Site::new(&[(Kind::Gateway, gateway("web")), (Kind::Service, service)]);
    assert_eq!(site.changes(), []);
}

#[test]
fn what_the_gateway_takes_back_goes_and_what_others_wrote_stays() {
    let mut service = Site::new(&[(Kind::Gateway, gateway("web"))]).created();
    service["metadata"]["labels"]["theirs"] = json!("x");
    service["metadata"]["annotations"]["theirs"] = json!("x");
    let mut changed = gateway("web");
    changed["spec"]["infrastructure"] = json!({"labels": {"team": "blue"}});
    changed["spec"]["listeners"].as_array_mut().unwrap().truncate(1);
    let changes = Site::new(&[(Kind::Gateway, changed), (Kind::Service, service)]).changes();
    let [Change::Merge(_, change)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(change["metadata"]["labels"], json!({"team": "blue"}));
    let keys = format!("l:{GATEWAY_NAME},l:team");
    assert_eq!(change["metadata"]["annotations"], json!({KEYS: keys, "dns": null}));
    let ports = json!([{"name": "tcp-80", "protocol": "TCP", "port": 80}]);
    assert_eq!(change["spec"], json!({"ports": ports}));
}

#[test]
fn a_companion_goes_when_its_gateway_is_not_ours_any_more() {
    let service = Site::new(&[(Kind::Gateway, gateway("web"))]).created();
    let mut theirs = gateway("web");
    theirs["spec"]["gatewayClassName"] = json!("other");
    let objects = [(Kind::Gateway, theirs), (Kind::Service, service.clone())];
    let site = Site::new(&objects);
    assert!(matches!(site.changes().as_slice(), [Change::Delete(_)]));
    // Unless not everything is known.
    assert_eq!(site.changes_for(Companion::Service, false), []);
    // And when companions are switched off.
    let site = Site::new(&[(Kind::Gateway, gateway("web")), (Kind::Service, service)]);
    assert!(matches!(site.changes_for(Companion::None, true).as_slice(), [Change::Delete(_)]));
}

#[test]
fn a_service_of_somebody_else_keeps_the_name() {
    let theirs = json!({"metadata": {"name": "vipgate-web", "namespace": "games"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 1}]}});
    let site = Site::new(&[(Kind::Gateway, gateway("web")), (Kind::Service, theirs)]);
    let service = site.created();
    let name = service["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("vipgate-web-") && name.len() == "vipgate-web-".len() + 8, "{name}");
}

#[test]
fn names_that_a_service_cannot_have_are_shortened() {
    let long = "a".repeat(200);
    for name in ["with.dots", long.as_str()] {
        let service = Site::new(&[(Kind::Gateway, gateway(name))]).created();
        let made = service["metadata"]["name"].as_str().unwrap();
        assert!(made.len() <= 63 && !made.contains('.'), "{made}");
        let label = service["metadata"]["labels"][GATEWAY_NAME].as_str().unwrap();
        assert!(label.len() <= 63 && name.starts_with(&label[..9]), "{label}");
    }
}

#[test]
fn the_status_shows_the_addresses_unless_kube_proxy_would_take_them() {
    let service = Site::new(&[(Kind::Gateway, gateway("web"))]).created();
    let mut site = Site::new(&[(Kind::Gateway, gateway("web")), (Kind::Service, service)]);
    let mut all = Statuses::clone(&site.outcome.statuses);
    let status = all.gateways.get_mut(&ObjectKey::new("games", "web")).unwrap();
    let status = Arc::make_mut(status);
    status.addresses = serde_json::from_value(json!([{"value": "192.0.2.7"}])).unwrap();
    site.outcome.statuses = Arc::new(all);
    let (world, all) = (site.planner.world(), &site.outcome.statuses);
    let [service] = world.services.values().collect::<Vec<_>>()[..] else { panic!() };
    let shown = |keeps| super::status(world, all, &service.object, keeps).unwrap();
    let ingress = json!([{"ip": "192.0.2.7", "ipMode": "Proxy"}]);
    assert_eq!(shown(true), json!({"loadBalancer": {"ingress": ingress}}));
    assert_eq!(shown(false), json!({"loadBalancer": {}}));
    assert_eq!(statuses(world, all), [(reference(&*service.object), shown(true))]);
}

#[test]
fn a_service_account_carries_the_labels_where_that_is_wanted() {
    let mode = Companion::ServiceAccount;
    let site = Site::new(&[(Kind::Gateway, gateway("web"))]);
    let changes = site.changes_for(mode, true);
    let [Change::Create(object, body)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(object.kind, Kind::ServiceAccount);
    assert_eq!(body["metadata"]["labels"]["team"], "red");
    let account = (Kind::ServiceAccount, body.clone());
    let site = Site::new(&[(Kind::Gateway, gateway("web")), account.clone()]);
    assert_eq!(site.changes_for(mode, true), []);
    let site = Site::new(&[account]);
    assert!(matches!(site.changes_for(mode, true).as_slice(), [Change::Delete(_)]));
    // A Service from before goes.
    let service = Site::new(&[(Kind::Gateway, gateway("web"))]).created();
    let account = (Kind::ServiceAccount, body.clone());
    let site = Site::new(&[(Kind::Gateway, gateway("web")), (Kind::Service, service), account]);
    let deleted = |mode| match site.changes_for(mode, true).as_slice() {
        [Change::Delete(object)] => object.kind,
        changes => panic!("{changes:?}"),
    };
    assert_eq!(deleted(mode), Kind::Service);
    // And back.
    assert_eq!(deleted(Companion::Service), Kind::ServiceAccount);
}
