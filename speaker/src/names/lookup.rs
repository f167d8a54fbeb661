//! One question: the addresses of a name.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::time::timeout;

use super::schedule::{Family, Looked};

/// How long a question may take, with everything that the resolver tries.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for the addresses of a name, as it is written: no search domain is tried.
pub(super) async fn look_up(resolver: Result<TokioResolver, String>, name: &str) -> Looked {
    let all = |why: String| [Family::Failed(why.clone()), Family::Failed(why)];
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(why) => return all(why),
    };
    let name = match Name::from_ascii(name) {
        Ok(mut name) => {
            name.set_fqdn(true);
            name
        }
        Err(error) => return all(format!("it is no DNS name: {error}")),
    };
    let both = async {
        let (four, six) = tokio::join!(
            family(&resolver, &name, RecordType::A),
            family(&resolver, &name, RecordType::AAAA),
        );
        [four, six]
    };
    match timeout(PATIENCE, both).await {
        Ok(looked) => looked,
        Err(_) => all(in_words(&NetError::Timeout)),
    }
}

async fn family(resolver: &TokioResolver, name: &Name, kind: RecordType) -> Family {
    let answer = match resolver.lookup(name.clone(), kind).await {
        Ok(answer) => answer,
        Err(NetError::Dns(DnsError::NoRecordsFound(none)))
            if none.response_code == ResponseCode::NoError =>
        {
            let good_for = none.negative_ttl.map(|ttl| Duration::from_secs(ttl.into()));
            return Family::HasNone(good_for);
        }
        Err(error) => return Family::Failed(in_words(&error)),
    };
    // Of the names on the way (CNAME) as well: each may lead elsewhere when its time is over.
    let ttl = answer.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
    let good_for = Duration::from_secs(ttl.into());
    let addresses = answer.answers().iter().filter_map(|record| match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    });
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    if addresses.is_empty() { Family::HasNone(None) } else { Family::Has(addresses, good_for) }
}

fn in_words(error: &NetError) -> String {
    let answers = |code: &ResponseCode| match code {
        ResponseCode::NXDomain => "there is no such name (NXDOMAIN)".to_owned(),
        ResponseCode::ServFail => "the DNS server could not find out (SERVFAIL)".to_owned(),
        ResponseCode::Refused => "the DNS server does not want to answer (REFUSED)".to_owned(),
        code => format!("the DNS server answers {code}"),
    };
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => answers(&none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => answers(code),
        NetError::Timeout => "no DNS server answers in time".to_owned(),
        NetError::NoConnections => "no DNS server can be reached".to_owned(),
        error => format!("DNS cannot be asked: {error}"),
    }
}
