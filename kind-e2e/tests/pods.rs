//! Workers of a cluster: pods with real processes, and Services that lead to them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{Cluster, Images, Patch, PodPlayer, ProxyMode, Worker};
use vipgate_lab::{Bridge, Lab, Link, Node, eventually};

const LONG: Duration = Duration::from_secs(30);
const PODS: &str = "/api/v1/namespaces/games/pods";

/// Two workers and a client that is none, on one network.
struct Site {
    // The order of dropping: what runs on the nodes first.
    player: PodPlayer,
    cluster: Cluster,
    workers: Vec<Worker>,
    client: Node,
    nodes: Vec<Node>,
    _cables: Vec<Link>,
    _lan: Bridge,
    _lab: Lab,
}

fn site(name: &str, images: Images) -> Result<Site> {
    let lab = Lab::new(name)?;
    let lan = lab.bridge("lan")?;
    let (cp, client) = (lab.node("cp")?, lab.node("client")?);
    let nodes = vec![lab.node("w1")?, lab.node("w2")?];
    let mut cables = vec![cp.join(&lan, "10.77.0.1/24")?, client.join(&lan, "10.77.0.9/24")?];
    cables.push(nodes[0].join(&lan, "10.77.0.2/24")?);
    cables.push(nodes[1].join(&lan, "10.77.0.3/24")?);
    for (number, cable) in cables.iter().enumerate() {
        cable.add_address(&format!("fd77::{}/64", number + 1))?;
    }
    let cluster = Cluster::start(cp, "10.77.0.1".parse()?)?;
    let workers = vec![
        cluster.add_worker(&nodes[0], "worker1", "10.77.0.2".parse()?)?,
        cluster.add_worker(&nodes[1], "worker2", "10.77.0.3".parse()?)?,
    ];
    let player = cluster.play_pods(&workers, images)?;
    player.route_from(&client)?;
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: games}\n")?;
    Ok(Site { player, cluster, workers, client, nodes, _cables: cables, _lan: lan, _lab: lab })
}

/// The backend of the conformance tests, by its three modes.
fn deployment(replicas: u8, environment: &str, rest: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo, namespace: games}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      containers:
      - name: echo
        image: registry.example/gateway-api/echo-basic:v1.6.0-dev.2
        env:
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        - {{name: TCP_ECHO_SERVER, value: '1'}}
{environment}{rest}"
    )
}

const MOUNTED: &str = "        - {name: TLS_SERVER_CERT, value: /etc/secret-volume/crt}
        - {name: TLS_SERVER_PRIV_KEY, value: /etc/secret-volume/key}
        volumeMounts: [{name: tls, mountPath: /etc/secret-volume}]
";
const VOLUME: &str = "      volumes:
      - name: tls
        secret:
          secretName: later
          items: [{key: tls.crt, path: crt}, {key: tls.key, path: key}]
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: echo, namespace: games}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports: [{port: 80, targetPort: 3000}]
";

fn pods(cluster: &Cluster) -> Result<Vec<Value>> {
    let list = cluster.api().get(PODS)?;
    Ok(list["items"].as_array().context("a list")?.clone())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn ready_pods(cluster: &Cluster, number: usize) -> Result<Vec<Value>> {
    eventually(LONG, || {
        let pods = pods(cluster)?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        ensure!(ready == number && pods.len() == number, "{ready} ready: {}", json!(pods));
        Ok(pods)
    })
}

/// Which pod answers.
fn who_answers(from: &Node, address: SocketAddr) -> Result<String> {
    from.enter(|| {
        let connection = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut lines = BufReader::new(&connection).lines();
        ensure!(lines.next().context("no greeting")?? == "Gateway API Test TCP Server");
        (&connection).write_all(b"TEST\n")?;
        let answer: Value = serde_json::from_str(&lines.next().context("no answer")??)?;
        ensure!(answer["namespace"] == "games", "{answer}");
        Ok(answer["pod"].as_str().context("a name")?.to_owned())
    })
}

fn address(pod: &Value, family: usize) -> Result<SocketAddr> {
    let ip = pod["status"]["podIPs"][family]["ip"].as_str().context("an address")?;
    Ok(SocketAddr::new(ip.parse()?, 3000))
}

#[test]
fn pods_answer_by_their_addresses_and_through_services() -> Result<()> {
    let site = site("pods", Images::of_conformance()?)?;
    let Site { cluster, client, nodes, .. } = &site;
    let start = Instant::now();
    cluster.apply(&deployment(3, "", ""))?;
    cluster.apply(SERVICE)?;
    let pods = ready_pods(cluster, 3)?;
    eprintln!("three pods within {:?}", start.elapsed());
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().context("a name")?;
        for (node, family) in nodes.iter().chain([client]).flat_map(|node| [(node, 0), (node, 1)]) {
            assert_eq!(who_answers(node, address(pod, family)?)?, name);
        }
    }
    let workers: BTreeSet<_> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    assert_eq!(workers.len(), 2, "{workers:?}");

    let service = cluster.get(["service", "echo", "--namespace=games"])?;
    for (family, mode) in [ProxyMode::Nftables, ProxyMode::Iptables].into_iter().enumerate() {
        let proxy = cluster.kube_proxy(&site.workers[family], mode)?;
        for ip in service["spec"]["clusterIPs"].as_array().context("addresses")? {
            let ip = ip.as_str().context("an address")?.parse()?;
            let mut seen = BTreeSet::new();
            eventually(LONG, || {
                seen.insert(who_answers(&nodes[family], SocketAddr::new(ip, 80))?);
                ensure!(seen.len() == 3, "{mode:?}, {ip}: only {seen:?} answer");
                Ok(())
            })
            .with_context(|| proxy.tail())?;
        }
    }
    Ok(())
}

#[test]
fn a_pod_waits_for_its_secret_and_starts_again_after_a_crash() -> Result<()> {
    let site = site("life", Images::of_conformance()?)?;
    let Site { cluster, player, client, .. } = &site;
    cluster.apply(&deployment(1, MOUNTED, VOLUME))?;
    let pod = eventually(LONG, || {
        let pod = pods(cluster)?.pop().context("no pod")?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let why = waiting["message"].as_str().context("it does not wait")?;
        ensure!(why.contains("later"), "{why}");
        Ok(pod)
    })?;
    assert!(!is_ready(&pod) && pod["status"]["phase"] == "Pending");
    // Any certificate will do.
    let of_the_api_server = |file: &str| cluster.directory().join("certificates").join(file);
    let certificate =
        format!("--from-file=tls.crt={}", of_the_api_server("apiserver.crt").display());
    let key = format!("--from-file=tls.key={}", of_the_api_server("apiserver.key").display());
    let create = ["create", "secret", "generic", "later", "--namespace=games"];
    cluster.kubectl(create.into_iter().chain([&*certificate, &key]))?;
    let pod = ready_pods(cluster, 1)?.remove(0);
    let name = pod["metadata"]["name"].as_str().context("a name")?;
    assert_eq!(who_answers(client, address(&pod, 0)?)?, name);

    player.crash("games", name)?;
    eventually(LONG, || {
        let pod = pods(cluster)?.pop().context("no pod")?;
        ensure!(pod["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(&pod));
        Ok(())
    })?;
    assert_eq!(who_answers(client, address(&pod, 0)?)?, name);

    // Everything of it goes, and another comes in its place.
    cluster.api().delete(&format!("{PODS}/{name}"), &json!({}))?;
    eventually(LONG, || {
        let pods = pods(cluster)?;
        let other = pods.iter().find(|one| one["metadata"]["name"] != name && is_ready(one));
        let other = other.context("no other pod")?;
        ensure!(pods.len() == 1, "the old one is still there");
        who_answers(client, address(other, 0)?)
    })?;
    assert!(who_answers(client, address(&pod, 0)?).is_err());
    Ok(())
}

#[test]
fn pods_outlive_the_api_server_and_what_was_deleted_meanwhile_goes() -> Result<()> {
    let mut site = site("restart", Images::of_conformance()?)?;
    site.cluster.apply(&deployment(2, "", ""))?;
    let before = ready_pods(&site.cluster, 2)?;
    site.cluster.restart_api_server()?;
    assert!(who_answers(&site.client, address(&before[0], 0)?).is_ok());
    let scale = json!({"spec": {"replicas": 1}});
    let path = "/apis/apps/v1/namespaces/games/deployments/echo";
    site.cluster.api().patch(path, Patch::Merge, &scale)?;
    let left = ready_pods(&site.cluster, 1)?.remove(0);
    eventually(LONG, || {
        let others = before.iter().filter(|pod| pod["metadata"]["uid"] != left["metadata"]["uid"]);
        for pod in others {
            ensure!(who_answers(&site.client, address(pod, 0)?).is_err(), "it still answers");
        }
        Ok(())
    })
}

#[test]
fn an_unknown_image_waits_and_says_so() -> Result<()> {
    let site = site("images", Images::none().nothing("gateway-api/other"))?;
    let cluster = &site.cluster;
    cluster.apply(&deployment(1, "", ""))?;
    eventually(LONG, || {
        let pod = pods(cluster)?.pop().context("no pod")?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
        let why = waiting.as_str().context("it does not wait")?;
        ensure!(why.contains("nothing for image gateway-api/echo-basic"), "{why}");
        Ok(())
    })?;
    // What is named as such does nothing and is ready; the selector finds its worker.
    cluster.apply(
        "apiVersion: v1
kind: Pod
metadata: {name: idle, namespace: games}
spec:
  nodeSelector: {kubernetes.io/hostname: worker2}
  containers: [{name: idle, image: gateway-api/other}]
",
    )?;
    eventually(LONG, || {
        let pod = cluster.api().get(&format!("{PODS}/idle"))?;
        ensure!(is_ready(&pod) && pod["spec"]["nodeName"] == "worker2", "{pod}");
        Ok(())
    })
}
