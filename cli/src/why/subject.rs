//! What `vipgate why` is asked about: a VIP, a Gateway, a Service or a route, and perhaps one port of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use vipgate_api::{Kind, ObjectKey, ObjectRef};

/// The namespace that is meant when none is written.
const DEFAULT_NAMESPACE: &str = "default";

/// Kinds that can be asked about, by the names that people give them (kubectl's, singular and plural).
const KINDS: [(&str, &str, Kind); 6] = [
    ("gateway", "gtw", Kind::Gateway),
    ("service", "svc", Kind::Service),
    ("tcproute", "", Kind::TcpRoute),
    ("tlsroute", "", Kind::TlsRoute),
    ("udproute", "", Kind::UdpRoute),
    ("httproute", "", Kind::HttpRoute),
];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(super) of: Of,
    pub(super) port: Option<u16>,
}

/// What of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Vip(IpAddr),
    Object(ObjectRef),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.of, self.port) {
            (Of::Vip(vip), None) => write!(f, "{vip}"),
            (Of::Vip(vip), Some(port)) => write!(f, "{}", SocketAddr::new(*vip, port)),
            (Of::Object(object), port) => {
                write!(f, "{}/{}", object.kind.name().to_ascii_lowercase(), object.key)?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(vip) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Self { of: Of::Vip(vip), port: None });
        }
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self { of: Of::Vip(socket.ip()), port: Some(port(socket.port())?) });
        }
        let (object, port) = match text.rsplit_once(':') {
            Some((object, digits)) => {
                let number = digits.parse().map_err(|_| {
                    format!(
                        "{digits:?} is no port: write a number from 1 to 65535 behind the colon"
                    )
                })?;
                (object, Some(port(number)?))
            }
            None => (text, None),
        };
        Ok(Self { of: Of::Object(object_of(object)?), port })
    }
}

fn port(number: u16) -> Result<u16, String> {
    if number == 0 { Err("0 is no port: write 1 to 65535".to_owned()) } else { Ok(number) }
}

fn object_of(text: &str) -> Result<ObjectRef, String> {
    let forms = "write a VIP such as 192.0.2.10, or KIND/[NAMESPACE/]NAME with the kind gateway, service, \
                 tcproute, tlsroute, udproute or httproute; a port may follow, as in gateway/default/web:443";
    let mut parts = text.split('/');
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let rest: Vec<&str> = parts.collect();
    let known = KINDS.iter().find(|(name, short, _)| {
        kind == *name || kind == format!("{name}s") || (!short.is_empty() && kind == *short)
    });
    let Some((_, _, kind)) = known else {
        if rest.is_empty() {
            return Err(format!("{text:?} is no address: {forms}"));
        }
        return Err(format!("of {kind:?} nothing can be said: {forms}"));
    };
    let (namespace, name) = match rest[..] {
        [name] => (DEFAULT_NAMESPACE, name),
        [namespace, name] => (namespace, name),
        _ => return Err(format!("{text:?} is not one object: {forms}")),
    };
    if namespace.is_empty() || name.is_empty() {
        return Err(format!("{text:?} has no name: {forms}"));
    }
    Ok(ObjectRef::new(*kind, ObjectKey::new(namespace, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_again() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("gateway/web", "gateway/default/web"),
            ("Gateways/infra/web:443", "gateway/infra/web:443"),
            ("svc/dns:53", "service/default/dns:53"),
            ("tcproute/apps/web", "tcproute/apps/web"),
            ("udproutes/dns", "udproute/default/dns"),
            ("tlsroute/a/b", "tlsroute/a/b"),
            ("httproute/a/b:80", "httproute/a/b:80"),
        ] {
            let subject: Subject = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(subject.to_string(), shown);
            assert_eq!(shown.parse::<Subject>().as_ref(), Ok(&subject));
        }
    }

    #[test]
    fn whatever_else_is_written_is_answered_with_what_to_write() {
        for (text, said) in [
            ("192.0.2", "is no address: write a VIP"),
            ("web", "is no address: write a VIP"),
            ("pod/web", "of \"pod\" nothing can be said: write a VIP"),
            ("gateway/", "has no name"),
            ("gateway/a/b/c", "is not one object"),
            ("gateway/web:http", "\"http\" is no port"),
            ("gateway/web:0", "0 is no port"),
            ("192.0.2.1:0", "0 is no port"),
            ("gateway/web:70000", "is no port"),
        ] {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
