//! What a pod asks for, read from its object, with references to itself resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::sockets::Protocol;
use crate::{Program, Result};

/// A container as the pod describes it.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    spec: &'a Value,
}

/// What a container learns of its pod.
pub(super) struct Surroundings<'a> {
    pub(super) pod: &'a Value,
    pub(super) addresses: &'a [IpAddr],
    pub(super) host: IpAddr,
    /// Where the volumes are, by name.
    pub(super) volumes: &'a BTreeMap<String, PathBuf>,
}

/// The containers of a pod.
pub(super) fn containers(pod: &Value) -> Result<Vec<Container<'_>>> {
    let spec = &pod["spec"];
    ensure!(list(&spec["initContainers"]).is_empty(), "the lab does not run initContainers");
    list(&spec["containers"]).iter().map(Container::of).collect()
}

impl<'a> Container<'a> {
    fn of(spec: &'a Value) -> Result<Self> {
        let text = |field: &str| spec[field].as_str().with_context(|| format!("no {field}"));
        Ok(Self { name: text("name")?, image: text("image")?, spec })
    }

    /// The ports it declares.
    pub(super) fn ports(&self) -> BTreeSet<(Protocol, u16)> {
        let ports = list(&self.spec["ports"]).iter();
        ports
            .filter_map(|port| {
                let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
                match port["protocol"].as_str().unwrap_or("TCP") {
                    "TCP" => Some((Protocol::Tcp, number)),
                    "UDP" => Some((Protocol::Udp, number)),
                    _ => None,
                }
            })
            .collect()
    }

    /// `entrypoint`, as this container calls it. `command` of the container stands for the same
    /// program: only its arguments are taken.
    ///
    /// The process sees this machine's files. So where an argument or a variable begins with the
    /// path of a mount, the place of the volume is put there instead.
    pub(super) fn program(
        &self,
        entrypoint: impl Into<PathBuf>,
        around: &Surroundings<'_>,
    ) -> Result<Program> {
        let mounts = self.mounts(around)?;
        let mut variables = BTreeMap::new();
        let mut program = Program::new(entrypoint);
        for variable in list(&self.spec["env"]) {
            let name = variable["name"].as_str().context("a variable without name")?;
            let value = match &variable["valueFrom"] {
                Value::Null => expand(variable["value"].as_str().unwrap_or_default(), &variables),
                from => around.value(from).with_context(|| format!("variable {name}"))?,
            };
            let value = relocate(&value, &mounts);
            program = program.env(name, &value);
            variables.insert(name.to_owned(), value);
        }
        let command = list(&self.spec["command"]).iter().skip(1);
        let arguments = command.chain(list(&self.spec["args"])).filter_map(Value::as_str);
        Ok(program.args(arguments.map(|text| relocate(&expand(text, &variables), &mounts))))
    }

    fn mounts(&self, around: &Surroundings<'_>) -> Result<Vec<(&'a str, PathBuf)>> {
        let mounts = list(&self.spec["volumeMounts"]).iter();
        mounts
            .map(|mount| {
                let path = mount["mountPath"].as_str().context("a mount without path")?;
                let name = mount["name"].as_str().context("a mount without name")?;
                let volume =
                    around.volumes.get(name).with_context(|| format!("no volume {name}"))?;
                let below = mount["subPath"].as_str();
                Ok((path, below.map_or_else(|| volume.clone(), |below| volume.join(below))))
            })
            .collect()
    }
}

impl Surroundings<'_> {
    /// A value that comes from the pod itself (`fieldRef`).
    fn value(&self, from: &Value) -> Result<String> {
        let field = from["fieldRef"]["fieldPath"].as_str();
        let field = field.with_context(|| format!("the lab does not know {from}"))?;
        let addresses = || self.addresses.iter().map(ToString::to_string);
        let path = match field {
            "status.podIP" => return Ok(addresses().next().unwrap_or_default()),
            "status.podIPs" => return Ok(addresses().collect::<Vec<_>>().join(",")),
            "status.hostIP" | "status.hostIPs" => return Ok(self.host.to_string()),
            "metadata.name" => "/metadata/name".to_owned(),
            "metadata.namespace" => "/metadata/namespace".to_owned(),
            "metadata.uid" => "/metadata/uid".to_owned(),
            "spec.nodeName" => "/spec/nodeName".to_owned(),
            "spec.serviceAccountName" => "/spec/serviceAccountName".to_owned(),
            other => keyed(other).with_context(|| format!("the lab does not know {other}"))?,
        };
        Ok(self.pod.pointer(&path).and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

/// `metadata.labels['KEY']`, or of annotations, as a JSON pointer.
fn keyed(field: &str) -> Result<String> {
    for map in ["labels", "annotations"] {
        let key = field.strip_prefix("metadata.").and_then(|rest| rest.strip_prefix(map));
        let key = key.and_then(|rest| rest.strip_prefix("['")?.strip_suffix("']"));
        if let Some(key) = key {
            return Ok(format!("/metadata/{map}/{}", key.replace('~', "~0").replace('/', "~1")));
        }
    }
    bail!("no map of names")
}

/// Replaces `$(NAME)` by a variable that is set, and `$$` by `$`, as Kubernetes does.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(place) = rest.find('$') {
        expanded += &rest[..place];
        rest = &rest[place..];
        if let Some(after) = rest.strip_prefix("$$") {
            (expanded, rest) = (expanded + "$", after);
            continue;
        }
        let named = rest.strip_prefix("$(").and_then(|inside| inside.split_once(')'));
        match named.and_then(|(name, after)| Some((variables.get(name)?, after))) {
            Some((value, after)) => (expanded, rest) = (expanded + value, after),
            None => (expanded, rest) = (expanded + "$", &rest[1..]),
        }
    }
    expanded + rest
}

/// The place of the volume instead of the path where the container would see it.
fn relocate(text: &str, mounts: &[(&str, PathBuf)]) -> String {
    for (path, place) in mounts {
        if let Some(below) = text.strip_prefix(path)
            && (below.is_empty() || below.starts_with('/'))
        {
            return format!("{}{below}", place.display());
        }
    }
    text.to_owned()
}

/// An absent list is an empty one.
pub(in super::super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
