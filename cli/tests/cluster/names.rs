//! HTTP and HTTPS listeners, served as streams, and ListenerSets.

use std::io::{Read, Write};

use anyhow::ensure;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, backend, said};

#[test]
fn http_goes_by_host_and_what_a_stream_cannot_give_is_refused() {
    let site = Site::new("http");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let (_one, _two) = (site.echo(7001, "one"), site.echo(7002, "two"));
    site.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\n\
         spec: {gatewayClassName: vipgate, listeners: [{name: http, protocol: HTTP, port: 80}]}\n",
    );
    let route = |name: &str, host: &str, rules: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
             spec:\n  parentRefs: [{{name: web}}]\n  hostnames: [{host}]\n  rules: [{rules}]\n"
        )
    };
    let to = |name: &str| {
        format!("{{backendRefs: [{{group: vipgate.dev, kind: Backend, name: {name}}}]}}")
    };
    site.apply(&backend("one", 7001));
    site.apply(&backend("two", 7002));
    site.apply(&route("one", "one.example.com", &to("one")));
    site.apply(&route("two", "'*.example.com'", &to("two")));
    let filtered = "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [a]}}], \
                    backendRefs: [{group: vipgate.dev, kind: Backend, name: one}]}";
    site.apply(&route("filtered", "filtered.example.com", filtered));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let accepted = |name: &str, expected: &str| {
        eventually(SOON, || {
            let route = site.get("httproute", name)?;
            let found = said(&route["status"]["parents"][0]["conditions"], "Accepted");
            ensure!(found.as_deref() == Some(expected), "{route}");
            Ok(())
        })
        .unwrap();
    };
    accepted("one", "True/Accepted");
    accepted("two", "True/Accepted");
    accepted("filtered", "False/UnsupportedValue");
    let reached = |host: &str| {
        let mut stream = site.connect("10.77.0.200:80").unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut start = [0; 4];
        stream.read_exact(&mut start).unwrap();
        String::from_utf8_lossy(&start).trim_end().to_owned()
    };
    assert_eq!(reached("one.example.com"), "one");
    assert_eq!(reached("x.example.com"), "two");
    assert_eq!(reached("example.org"), "HTTP");
}

#[test]
fn a_listener_set_adds_listeners_where_the_gateway_lets_it() {
    let site = Site::new("sets");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let _one = site.echo(7001, "one");
    let gateway = |from: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: web}}\n\
             spec: {{gatewayClassName: vipgate, allowedListeners: {{namespaces: {{from: {from}}}}}, \
             listeners: [{{name: own, protocol: TCP, port: 80}}]}}\n"
        )
    };
    site.apply(&gateway("None"));
    site.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: more}\n\
         spec: {parentRef: {name: web}, listeners: [{name: more, protocol: TCP, port: 81}, \
         {name: taken, protocol: TCP, port: 80}]}\n",
    );
    site.apply(&backend("one", 7001));
    site.apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: one}\n\
         spec:\n  parentRefs: [{kind: ListenerSet, name: more, sectionName: more}]\n  \
         rules: [{backendRefs: [{group: vipgate.dev, kind: Backend, name: one}]}]\n",
    );
    site.condition("listenerset", "more", "Accepted", "False/NotAllowed");
    site.apply(&gateway("Same"));
    let set = site.condition("listenerset", "more", "Programmed", "True/Programmed");
    let listeners = &set["status"]["listeners"];
    assert_eq!(said(&listeners[0]["conditions"], "Programmed").unwrap(), "True/Programmed");
    assert_eq!(said(&listeners[1]["conditions"], "Conflicted").unwrap(), "True/ProtocolConflict");
    let web = site.get("gateway", "web").unwrap();
    assert_eq!(web["status"]["attachedListenerSets"], 1);
    assert_eq!(web["status"]["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(site.greeting("10.77.0.200:81").unwrap(), "one");
}
