//! Ten thousand objects are read in about a second (release), and what did not change is not read
//! again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;

use clock::processor_seconds;
use vipgate_api::manifest::{File, Listing, Mode, Snapshot};

const OBJECTS: usize = 10_000;

fn manifest(index: usize) -> String {
    let (high, low) = (index / 250, index % 250 + 1);
    match index % 4 {
        0 => format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: gw-{index}\nspec:\n  \
             gatewayClassName: vipgate\n  listeners:\n  - name: tcp\n    port: 5432\n    protocol: TCP\n    \
             allowedRoutes:\n      namespaces:\n        from: All\n"
        ),
        1 => format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata:\n  name: route-{index}\nspec:\n  \
             parentRefs:\n  - name: gw-{index}\n  rules:\n  - backendRefs:\n    - name: svc-{index}\n      port: 5432\n"
        ),
        2 => format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: svc-{index}\nspec:\n  selector:\n    app: pg\n  \
             ports:\n  - name: pg\n    port: 5432\n    targetPort: 5432\n"
        ),
        _ => format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: slice-{index}\n  labels:\n    \
             kubernetes.io/service-name: svc-{index}\naddressType: IPv4\nendpoints:\n- addresses:\n  - 10.1.{high}.{low}\n  \
             conditions:\n    ready: true\nports:\n- name: pg\n  port: 5432\n"
        ),
    }
}

/// Takes the files in; says how many objects changed and the processor seconds it took.
fn take_in(snapshot: &mut Snapshot, files: &[(String, Vec<u8>)]) -> (usize, f64) {
    let file = |(path, content): &(String, Vec<u8>)| File {
        path: path.clone(),
        content: Ok(content.clone()),
    };
    let listing = Listing { files: files.iter().map(file).collect(), ..Listing::default() };
    let started = processor_seconds();
    let update = snapshot.update(listing);
    let took = processor_seconds() - started;
    assert!(update.complete && update.problems.is_empty(), "{:?}", update.problems.first());
    (update.applied.len(), took)
}

#[test]
fn ten_thousand_objects_are_read_quickly() {
    // One large file, and the same number of objects again in small ones.
    let text: Vec<String> = (0..OBJECTS).map(manifest).collect();
    let one = vec![("all.yaml".to_owned(), text.join("---\n").into_bytes())];
    let many: Vec<(String, Vec<u8>)> = text
        .iter()
        .enumerate()
        .map(|(index, text)| (format!("{index:05}.yaml"), text.clone().into()))
        .collect();
    let limit = if cfg!(debug_assertions) { 10.0 } else { 1.0 };
    for mut files in [one, many] {
        let mut snapshot = Snapshot::new(Mode::Standalone);
        let (applied, first) = take_in(&mut snapshot, &files);
        assert_eq!(applied, OBJECTS);
        let (applied, unchanged) = take_in(&mut snapshot, &files);
        assert_eq!(applied, 0);
        let (_, last) = files.last_mut().unwrap();
        *last =
            String::from_utf8(last.clone()).unwrap().replace("10.1.39.250", "10.1.39.251").into();
        let (applied, changed) = take_in(&mut snapshot, &files);
        assert_eq!(applied, 1, "one object of {} files changed", files.len());
        println!(
            "{} files: read {first:?}, unchanged {unchanged:?}, one changed {changed:?}",
            files.len()
        );
        assert!(first < limit, "{OBJECTS} objects took {first} s");
        assert!(
            unchanged * 3.0 < first + 0.03,
            "unchanged files were read again: {unchanged} of {first} s"
        );
    }
}
