//! The checks that make up [`faults`](super::ListenerPolicySpec::faults). The rules of the definitions
//! (`crd/rules/policy.rs`) are made from the same bounds.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::backend::{HealthCheck, HealthCheckType};
use super::listener::{CIPHER_SUITES, ListenerTls, TLS_VERSIONS};
use crate::gateway::{PolicyTargetReference, duration};
use crate::vipgate::Fault;
use crate::{GATEWAY_GROUP, VIPGATE_GROUP};

/// Most targets of one policy, as in the Gateway API.
pub(crate) const MOST_TARGETS: usize = 16;
/// Most networks of one list.
pub(crate) const MOST_NETWORKS: usize = 256;
/// Most bytes (of a text, characters) that a health check sends or expects: a whole number of groups of
/// base64, so that the length of one says the other.
pub(crate) const MOST_BYTES: usize = 1023;

/// What ListenerPolicies may be about: group and kind.
pub(crate) const LISTENER_TARGETS: &[(&str, &str)] =
    &[(GATEWAY_GROUP, "Gateway"), (GATEWAY_GROUP, "ListenerSet")];
/// What BackendPolicies may be about.
pub(crate) const BACKEND_TARGETS: &[(&str, &str)] = &[
    (GATEWAY_GROUP, "TCPRoute"),
    (GATEWAY_GROUP, "TLSRoute"),
    (GATEWAY_GROUP, "UDPRoute"),
    (GATEWAY_GROUP, "HTTPRoute"),
    ("", "Service"),
    (VIPGATE_GROUP, "Backend"),
];

/// Which durations a field takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The shortest.
    pub(crate) least: &'static str,
    /// The longest.
    pub(crate) most: &'static str,
    /// Whether `0s` is taken too, though it is shorter.
    pub(crate) or_zero: bool,
    /// Whether it has to be whole seconds.
    pub(crate) whole: bool,
    /// One that is good.
    pub(crate) example: &'static str,
}

const PLAIN: Span = Span { least: "0s", most: "24h", or_zero: false, whole: false, example: "10s" };
pub(crate) const IDLE: Span =
    Span { least: "1s", most: "168h", or_zero: true, example: "30m", ..PLAIN };
pub(crate) const HANDSHAKE: Span = Span { least: "100ms", most: "60s", example: "5s", ..PLAIN };
pub(crate) const KEEPALIVE: Span =
    Span { least: "1s", most: "9h", whole: true, example: "60s", ..PLAIN };
pub(crate) const AFFINITY: Span = Span { least: "1s", example: "3h", ..PLAIN };
pub(crate) const CONNECT: Span = Span { least: "10ms", most: "60s", example: "1s", ..PLAIN };
pub(crate) const CHECK_INTERVAL: Span = Span { least: "100ms", most: "1h", example: "5s", ..PLAIN };
pub(crate) const CHECK_TIMEOUT: Span = Span { least: "10ms", most: "60s", example: "1s", ..PLAIN };
pub(crate) const CLOSE_AFTER: Span = Span { example: "30s", ..PLAIN };

impl Span {
    /// What has to be written.
    pub(crate) fn words(&self) -> String {
        let Self { least, most, example, .. } = self;
        let what = if self.whole { "whole seconds" } else { "a duration" };
        let zero = if self.or_zero { ", or 0s" } else { "" };
        format!("write {what} from {least} to {most} such as {example}{zero}")
    }

    fn takes(&self, text: &str) -> bool {
        let Some(time) = duration(text).filter(|_| !self.whole || !text.contains("ms")) else {
            return false;
        };
        let bound = |text| duration(text).expect("bounds are durations");
        let is_within = (bound(self.least)..=bound(self.most)).contains(&time);
        is_within || self.or_zero && time.is_zero()
    }
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn into_list(self) -> Vec<Fault> {
        self.0
    }

    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Fault::new(format!("spec.{field}"), message));
    }

    pub(super) fn targets(
        &mut self,
        targets: &[PolicyTargetReference],
        known: &[(&str, &str)],
        sections: bool,
    ) {
        self.count("targetRefs", targets.len(), MOST_TARGETS);
        for (index, target) in targets.iter().enumerate() {
            let field = format!("targetRefs[{index}]");
            if !known.contains(&(target.group.as_str(), target.kind.as_str())) {
                let shown = format!("{} of group {:?}", target.kind, target.group);
                self.add(&field, format!("is a {shown}, and {}", say_kinds(known)));
            } else if target.section_name.is_some() && !sections {
                let message = "means the whole object: remove `sectionName`";
                self.add(&format!("{field}.sectionName"), message);
            }
            if let Some(first) = targets[..index].iter().position(|other| other == target) {
                let message =
                    format!("is the same as spec.targetRefs[{first}]: remove one of them");
                self.add(&field, message);
            }
        }
    }

    fn count(&mut self, field: &str, count: usize, most: usize) {
        match count {
            0 => self.add(field, "is empty: write at least 1"),
            count if count > most => {
                self.add(field, format!("has {count} items: the most is {most}"));
            }
            _ => {}
        }
    }

    pub(super) fn networks(&mut self, field: &str, networks: Option<&Vec<String>>) {
        let Some(networks) = networks else { return };
        self.count(field, networks.len(), MOST_NETWORKS);
        for (index, text) in networks.iter().enumerate() {
            if network(text).is_none() {
                let message = match text.parse::<IpAddr>() {
                    Ok(address) => {
                        let length = if address.is_ipv4() { 32 } else { 128 };
                        format!("is one address: write `{address}/{length}`")
                    }
                    Err(_) => format!(
                        "{text:?} is no CIDR: write one such as 192.0.2.0/24 or 2001:db8::/32"
                    ),
                };
                self.add(&format!("{field}[{index}]"), message);
            }
        }
    }

    pub(super) fn number<T: PartialOrd + Display + Copy>(
        &mut self,
        field: &str,
        value: Option<T>,
        least: T,
        most: T,
    ) {
        if let Some(value) = value
            && !(least..=most).contains(&value)
        {
            self.add(field, format!("must be a number from {least} to {most}, not {value}"));
        }
    }

    pub(super) fn duration(&mut self, field: &str, text: Option<&str>, span: Span) {
        let Some(text) = text else { return };
        if !span.takes(text) {
            self.add(field, format!("{text:?}: {}", span.words()));
        }
    }

    pub(super) fn tls(&mut self, tls: &ListenerTls) {
        if let Some(version) = tls.min_version.as_deref()
            && !TLS_VERSIONS.contains(&version)
        {
            self.add("tls.minVersion", format!("{version:?}: write \"1.2\" or \"1.3\""));
        }
        let Some(suites) = &tls.cipher_suites else { return };
        self.count("tls.cipherSuites", suites.len(), CIPHER_SUITES.len());
        for (index, suite) in suites.iter().enumerate() {
            let field = format!("tls.cipherSuites[{index}]");
            if !CIPHER_SUITES.contains(&suite.as_str()) {
                let all = CIPHER_SUITES.join(", ");
                self.add(&field, format!("there is no {suite:?} here: write some of {all}"));
            } else if suites[..index].contains(suite) {
                self.add(&field, format!("{suite} stands here twice: remove one of them"));
            }
        }
        let is_newest = |suite: &String| CIPHER_SUITES[..3].contains(&suite.as_str());
        if tls.min_version.as_deref() == Some("1.3") && !suites.iter().any(is_newest) {
            self.add("tls", NO_SUITE_OF_1_3);
        }
    }

    pub(super) fn health_check(&mut self, check: &HealthCheck) {
        let times = [
            ("interval", &check.interval, CHECK_INTERVAL),
            ("timeout", &check.timeout, CHECK_TIMEOUT),
        ];
        for (field, time, span) in times {
            self.duration(&format!("healthCheck.{field}"), time.as_deref(), span);
        }
        self.number("healthCheck.unhealthyThreshold", check.unhealthy_threshold, 1, 100);
        self.number("healthCheck.healthyThreshold", check.healthy_threshold, 1, 100);
        self.number("healthCheck.port", check.port, 1, u16::MAX);
        for (field, text, bytes) in [
            ("send", check.send.as_ref(), check.send_bytes.as_ref()),
            ("expect", check.expect.as_ref(), check.expect_bytes.as_ref()),
        ] {
            let length = text
                .map(|text| text.chars().count())
                .into_iter()
                .chain(bytes.map(|bytes| bytes.0.len()));
            if length.into_iter().any(|length| !(1..=MOST_BYTES).contains(&length)) {
                let message = format!("write from 1 to {MOST_BYTES} bytes");
                self.add(&format!("healthCheck.{field}"), message);
            }
            if text.is_some() && bytes.is_some() {
                self.add("healthCheck", format!("write one of {field} and {field}Bytes"));
            }
        }
        let is_asked = [
            check.interval.is_some() || check.timeout.is_some() || check.port.is_some(),
            check.send.is_some() || check.send_bytes.is_some(),
            check.expect.is_some() || check.expect_bytes.is_some(),
        ];
        if check.kind == HealthCheckType::None && is_asked.contains(&true) {
            self.add("healthCheck", NOTHING_IS_ASKED);
        }
    }
}

pub(crate) const NO_SUITE_OF_1_3: &str = "none of the cipherSuites is of TLS 1.3, so nothing is left to \
    agree on: write some of TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256, TLS_CHACHA20_POLY1305_SHA256, or \
    `minVersion: \"1.2\"`";
pub(crate) const NOTHING_IS_ASKED: &str =
    "with `type: None` nothing is asked: write nothing beside it";

/// A network as it is written, with host bits or without; IPv4-mapped IPv6 is none.
pub fn network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let is_plain = length == "0" || !length.starts_with(['0', '+']);
    let is_mapped = address.parse().is_ok_and(|ip: IpAddr| match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    });
    IpNet::from_str(text).ok().filter(|_| is_plain && !is_mapped).map(|network| network.trunc())
}

fn say_kinds(known: &[(&str, &str)]) -> String {
    let kinds = known.iter().map(|(group, kind)| format!("{kind} (group {group:?})"));
    format!("such a policy is for {}", kinds.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_take_what_they_say() {
        let takes = |span: Span, text| span.takes(text);
        assert!(takes(IDLE, "0s") && takes(IDLE, "1s") && takes(IDLE, "168h"));
        assert!(!takes(IDLE, "999ms") && !takes(IDLE, "168h1ms"));
        assert!(!takes(HANDSHAKE, "0s") && takes(HANDSHAKE, "100ms"));
        assert!(
            takes(KEEPALIVE, "1m") && !takes(KEEPALIVE, "1500ms") && !takes(KEEPALIVE, "500ms")
        );
        assert!(takes(CLOSE_AFTER, "0s"));
    }

    #[test]
    fn networks_are_those_that_an_api_server_reads() {
        for (text, is) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
        ] {
            assert_eq!(network(text).map(|net| net.to_string()).as_deref(), Some(is));
        }
        for text in [
            "192.0.2.1",
            "192.0.2.0/33",
            "192.0.2.0/024",
            "192.0.2.0/+24",
            "192.0.2/24",
            "::ffff:192.0.2.0/120",
            "fe80::1%eth0/64",
            "web/24",
            "",
            " 192.0.2.0/24",
        ] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
