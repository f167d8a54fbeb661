//! A file for each Gateway, with its routes and their Backends.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

use super::replace;

/// Routes of each Gateway, and so listeners.
const ROUTES: usize = 10;
/// Which of them is changed.
const CHANGED: usize = ROUTES - 1;
/// Port of the first listener of each.
const PORT: u16 = 20_000;
/// The first VIP.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);

const GROUND: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: loopback, namespace: vipgate-system}
spec: {addresses: [127.64.0.0/14]}
";

/// The files, and which servers the routes have now.
pub(super) struct Manifests {
    directory: TempDir,
    gateways: usize,
    ports: [u16; 2],
    /// Gateways whose changing route goes to the second server.
    moved: BTreeSet<usize>,
}

impl Manifests {
    /// For so many routes, all to the first of these ports.
    pub(super) fn write(routes: usize, ports: [u16; 2]) -> Result<Self> {
        let directory = TempDir::new()?;
        let gateways = routes / ROUTES;
        let manifests = Self { directory, gateways, ports, moved: BTreeSet::new() };
        replace(&manifests.directory.path().join("ground.yaml"), GROUND)?;
        for gateway in 0..gateways {
            replace(&manifests.path(gateway), &manifests.text(gateway))?;
        }
        Ok(manifests)
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How many Gateways there are.
    pub(super) fn gateways(&self) -> usize {
        self.gateways
    }

    /// Where clients connect, for every route.
    pub(super) fn places(&self) -> impl Iterator<Item = SocketAddr> {
        (0..self.gateways).flat_map(|gateway| (0..ROUTES).map(move |at| place(gateway, at)))
    }

    /// Those that no change is about.
    pub(super) fn others(&self) -> impl Iterator<Item = SocketAddr> {
        self.places().filter(|place| place.port() != PORT + CHANGED as u16)
    }

    /// Moves one route of a Gateway to the other server: where it is, and what it answers then.
    pub(super) fn change(&mut self, gateway: usize) -> Result<(SocketAddr, u8)> {
        if !self.moved.remove(&gateway) {
            self.moved.insert(gateway);
        }
        replace(&self.path(gateway), &self.text(gateway))?;
        let answer = if self.moved.contains(&gateway) { b'b' } else { b'a' };
        Ok((place(gateway, CHANGED), answer))
    }

    fn path(&self, gateway: usize) -> PathBuf {
        self.directory.path().join(format!("g{gateway:05}.yaml"))
    }

    fn text(&self, gateway: usize) -> String {
        let mut text = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: g{gateway}, \
             namespace: default}}\nspec:\n  gatewayClassName: vipgate\n  addresses: [{{value: {}}}]\n  listeners:\n",
            place(gateway, 0).ip()
        );
        let port = |at: usize| place(gateway, at).port();
        for at in 0..ROUTES {
            let _ = writeln!(text, "  - {{name: l{at}, protocol: TCP, port: {}}}", port(at));
        }
        for at in 0..ROUTES {
            let moved = at == ROUTES - 1 && self.moved.contains(&gateway);
            let server = self.ports[usize::from(moved)];
            let name = format!("g{gateway}-{at}");
            let _ = write!(
                text,
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {{name: \
                 {name}, namespace: default}}\nspec:\n  parentRefs: [{{name: g{gateway}, sectionName: l{at}}}]\n  \
                 rules: [{{backendRefs: [{{group: vipgate.dev, kind: Backend, name: {name}}}]}}]\n---\n\
                 apiVersion: vipgate.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}, namespace: default}}\n\
                 spec: {{endpoints: [{{address: 127.0.0.1, port: {server}}}]}}\n"
            );
        }
        text
    }
}

fn place(gateway: usize, at: usize) -> SocketAddr {
    let number = |number: usize| u32::try_from(number).expect("few of them");
    let vip = Ipv4Addr::from(u32::from(FIRST) + number(gateway));
    let port = PORT + u16::try_from(at).expect("few listeners");
    SocketAddr::from((vip, port))
}
