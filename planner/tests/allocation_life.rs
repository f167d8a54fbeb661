//! The life of an address through the public interface, from YAML: chosen, found in foreign use,
//! replaced, published, kept against everything, and at last released.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::gateway::Gateway;
use vipgate_api::vipgate::IpAddressPool;
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef, Reason, Resource, Stored};
use vipgate_planner::allocation::{
    Allocation, Asks, POOL_ANNOTATION, PoolChoice, Pools, Want, allocate,
};
use vipgate_planner::{Claims, Foreign, MacAddr};

const POOL: &str = "
metadata: {name: home, namespace: vipgate-system}
spec:
  addresses: [192.0.2.240-192.0.2.250]
  exclusions: [192.0.2.241]
  avoidBuggyIPs: true
";

const SMALLER_POOL: &str = "
metadata: {name: home, namespace: vipgate-system}
spec: {addresses: [192.0.2.250]}
";

const WEB: &str = "
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  gatewayClassName: vipgate
  listeners: [{name: http, port: 80, protocol: TCP}]
";

const MAIL: &str = "
metadata: {name: mail, namespace: shop}
spec:
  gatewayClassName: vipgate
  listeners: [{name: smtp, port: 25, protocol: TCP}]
  addresses: [{type: IPAddress, value: 192.0.2.242}]
";

const PRINTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

fn pools(yaml: &str) -> Pools {
    let pool: IpAddressPool = serde_saphyr::from_str(yaml).expect("the text is YAML of this kind");
    let stored = Stored { object: Arc::new(pool), age: Age::default() };
    let key = stored.object.key();
    let (pools, problems) = Pools::new(&BTreeMap::from([(key, stored)]), &BTreeMap::new());
    assert_eq!(problems, BTreeMap::new());
    pools
}

fn want(yaml: &str) -> Want {
    let gateway: Gateway = serde_saphyr::from_str(yaml).expect("the text is YAML of this kind");
    let annotations = gateway.metadata.annotations.clone().unwrap_or_default();
    Want {
        user: ObjectRef::new(Kind::Gateway, gateway.key()),
        ports: Vec::new(),
        age: Age::default(),
        labels: gateway.metadata.labels.clone().unwrap_or_default(),
        pool: annotations.get(POOL_ANNOTATION).map(|names| PoolChoice {
            annotation: POOL_ANNOTATION.to_owned(),
            names: names.clone(),
        }),
        asks: Asks::Entries(gateway.spec.addresses),
        sharing: None,
        adopt: Vec::new(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the text is an address")
}

fn assigned(allocation: &Allocation, name: &str) -> Vec<IpAddr> {
    allocation.gateway(&ObjectKey::new("shop", name)).expect("it wants some").assigned.clone()
}

fn foreign(address: &str) -> Foreign {
    Foreign::from([(ip(address), PRINTER)])
}

#[test]
fn an_address_lives_from_choice_to_release() {
    let home = pools(POOL);
    let web = [want(WEB)];
    let (nobody, own) = (Foreign::new(), BTreeSet::from([ip("192.0.2.240")]));

    // Chosen: .240 is the host's own, .241 is excluded.
    let chosen = allocate(&home, &web, &Claims::default(), &nobody, &own, true);
    assert_eq!(assigned(&chosen, "web"), [ip("192.0.2.242")]);

    // A printer answers the probe: replaced by the next.
    let printer = foreign("192.0.2.242");
    let replaced = allocate(&home, &web, &chosen.claims, &printer, &own, true);
    assert_eq!(assigned(&replaced, "web"), [ip("192.0.2.243")]);

    // Published, through the state file and back: nothing moves it any more.
    let mut claims = replaced.claims;
    claims.0.get_mut(&ip("192.0.2.243")).unwrap().published = true;
    let claims: Claims = serde_json::from_str(&serde_json::to_string(&claims).unwrap()).unwrap();
    let intruder = foreign("192.0.2.243");
    let kept = allocate(&pools(SMALLER_POOL), &web, &claims, &intruder, &own, true);
    assert_eq!(kept.claims, claims);
    let addresses = kept.gateway(&ObjectKey::new("shop", "web")).expect("it wants some");
    assert_eq!(addresses.assigned, [ip("192.0.2.243")]);
    assert_eq!(addresses.problems[0].reason(), Reason::AddressNotUsable);
    assert!(addresses.problems[0].to_string().contains("02:00:00:00:00:09"));
    assert_eq!(kept.notes.len(), 1);

    // A requested address in foreign use waits for its other user.
    let both = [want(WEB), want(MAIL)];
    let waiting = allocate(&home, &both, &claims, &printer, &own, true);
    assert_eq!(assigned(&waiting, "mail"), [ip("192.0.2.242")]);
    assert_eq!(assigned(&waiting, "web"), [ip("192.0.2.243")]);

    // A Gateway is gone: its claim stays while the input may be incomplete, then it ends.
    let mail = [want(MAIL)];
    let early = allocate(&home, &mail, &waiting.claims, &nobody, &own, false);
    assert!(early.claims.0.contains_key(&ip("192.0.2.243")));
    let late = allocate(&home, &mail, &early.claims, &nobody, &own, true);
    assert_eq!(late.claims.0.keys().copied().collect::<Vec<_>>(), [ip("192.0.2.242")]);
}
