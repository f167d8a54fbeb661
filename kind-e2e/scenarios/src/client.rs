//! What the client asks, as scripts of bash: the same on a container as in a namespace, whatever system is around it.

mod calls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
pub(crate) use calls::Calls;
use serde_json::Value;

use crate::Result;
use crate::rig::{Family, Rig};

/// What echo-basic says first, as a server of TCP.
const GREETING: &str = "Gateway API Test TCP Server";
/// How often callers call, in seconds.
const CALL_EVERY: &str = "0.1";
/// How long a call may take: its first segment is sent again after one second.
const CALL_LIMIT: &str = "3";
/// Someone on the network of the nodes.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    rig: &'a dyn Rig,
}

impl<'a> Client<'a> {
    pub(crate) fn of(rig: &'a dyn Rig) -> Self {
        Self { rig }
    }

    fn run(&self, script: &str) -> Result<String> {
        self.rig.client(&format!("export LC_ALL=C\n{script}"))
    }

    /// Connects, and waits for the greeting.
    pub(crate) fn greeting(&self, vip: IpAddr, port: u16) -> Result<()> {
        let said = self.run(&format!(
            "timeout 5 bash -c 'exec 3<>/dev/tcp/{vip}/{port} && read -r line <&3 && echo \"$line\"'"
        ))?;
        ensure!(said.trim() == GREETING, "{vip} port {port} says {said:?}");
        Ok(())
    }

    /// Connects so many times, and counts by which value of `field` it was answered: `pod` or `service`.
    pub(crate) fn answers(
        &self,
        (vip, port): (IpAddr, u16),
        count: u32,
        field: &str,
    ) -> Result<BTreeMap<String, u32>> {
        let printed = self.run(&format!(
            "for ((n = 0; n < {count}; n++)); do timeout 5 bash -c 'exec 3<>/dev/tcp/{vip}/{port} && \
             read -r line <&3 && echo TEST >&3 && read -r line <&3 && echo \"$line\"' || exit; done"
        ))?;
        let mut found = BTreeMap::new();
        for line in printed.lines() {
            let answer: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let name = answer[field].as_str().with_context(|| line.to_owned())?;
            *found.entry(name.to_owned()).or_default() += 1;
        }
        ensure!(found.values().sum::<u32>() == count, "of {count}: {found:?}");
        Ok(found)
    }

    /// Whether a connection is made at all.
    pub(crate) fn connects(&self, vip: IpAddr, port: u16) -> Result<bool> {
        let script = format!(
            "timeout 2 bash -c 'exec 3<>/dev/tcp/{vip}/{port}' 2>/dev/null && echo yes || echo no"
        );
        Ok(self.run(&script)?.trim() == "yes")
    }

    /// Sends a datagram, and returns what comes back within two seconds.
    pub(crate) fn datagram(&self, vip: IpAddr, port: u16, text: &str) -> Result<Value> {
        let printed = self.run(&format!(
            "exec 3<>/dev/udp/{vip}/{port} && printf %s '{text}' >&3 && \
             timeout 2 dd bs=2048 count=1 <&3 2>/dev/null"
        ))?;
        serde_json::from_str(&printed).with_context(|| format!("{printed:?} came back"))
    }

    /// A certificate for this name, signed by itself, and its key; both PEM.
    pub(crate) fn certificate(&self, name: &str) -> Result<(String, String)> {
        let printed = self.run(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj '/CN={name}' -addext 'subjectAltName=DNS:{name}' -keyout /dev/stdout -out /dev/stdout 2>/dev/null"
        ))?;
        Ok((block(&printed, "CERTIFICATE")?, block(&printed, "PRIVATE KEY")?))
    }

    /// The certificate that is presented to one who asks for this name by SNI.
    pub(crate) fn presented(&self, vip: IpAddr, port: u16, name: &str) -> Result<String> {
        let at = if vip.is_ipv6() { format!("[{vip}]:{port}") } else { format!("{vip}:{port}") };
        let printed = self.run(&format!(
            "timeout 5 openssl s_client -connect '{at}' -servername '{name}' </dev/null 2>&1 || true"
        ))?;
        block(&printed, "CERTIFICATE").with_context(|| printed.clone())
    }

    /// The Ethernet addresses that answer for an address of the client's own network. For IPv6: the one that the client
    /// believes; `port` is what it asks there, so that it has to look it up.
    pub(crate) fn who_has(&self, vip: IpAddr, port: u16) -> Result<BTreeSet<String>> {
        let interface = &self.rig.facts().interface;
        let printed = match Family::of(vip) {
            // It fails where nobody answers.
            Family::V4 => self.run(&format!("arping -I {interface} -c 2 -w 3 {vip} || true"))?,
            Family::V6 => {
                self.run(&format!("ip -6 neigh flush to {vip} dev {interface}"))?;
                let _ = self.connects(vip, port)?;
                self.run(&format!("ip -6 neigh show {vip} dev {interface}"))?
            }
        };
        Ok(printed.lines().filter(|line| !line.contains("FAILED")).filter_map(mac_in).collect())
    }

    /// The Ethernet address of a node, as the client knows it.
    pub(crate) fn mac_of_node(&self, node: IpAddr) -> Result<String> {
        let interface = &self.rig.facts().interface;
        let printed = self.run(&format!(
            "ping -c 1 -W 2 {node} >/dev/null; ip neigh show {node} dev {interface}"
        ))?;
        printed.lines().find_map(mac_in).with_context(|| format!("the client does not know {node}"))
    }

    /// Has somebody call every tenth of a second, and hold one connection on which they ask as often, while `what` is
    /// done; for two minutes at most.
    pub(crate) fn meanwhile<T>(
        &self,
        (vip, port): (IpAddr, u16),
        what: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Calls)> {
        /// Names of files on the client.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let end = format!("/tmp/vipgate-e2e-{}-{number}", std::process::id());
        let (done, calls) = std::thread::scope(|scope| {
            let calls = scope.spawn(|| self.run(&callers(vip, port, &end)));
            let done = what();
            let ended = self.run(&format!("touch {end}"));
            let calls = calls.join().expect("the client does not panic");
            ended.and(calls).map(|calls| (done, calls))
        })?;
        let removed = self.run(&format!("rm -f {end}"));
        let done = done?;
        removed?;
        Ok((done, Calls::read(&calls)?))
    }
}

fn callers(vip: IpAddr, port: u16, end: &str) -> String {
    format!(
        "one() {{
    local began=$EPOCHREALTIME
    if timeout {CALL_LIMIT} bash -c 'exec 3<>/dev/tcp/{vip}/{port} && read -r line <&3' 2>/dev/null; then
        echo call $began $EPOCHREALTIME
    else
        echo missed $began $EPOCHREALTIME
    fi
}}
held() {{
    exec 3<>/dev/tcp/{vip}/{port} || {{ echo lost $EPOCHREALTIME; return; }}
    read -r -t 5 line <&3
    while [ ! -e {end} ] && [ $SECONDS -lt 120 ]; do
        echo TEST >&3 2>/dev/null || {{ echo lost $EPOCHREALTIME; return; }}
        read -r -t 5 line <&3 || {{ echo lost $EPOCHREALTIME; return; }}
        echo held $EPOCHREALTIME
        sleep {CALL_EVERY}
    done
}}
trap '' PIPE
held 2>/dev/null &
while [ ! -e {end} ] && [ $SECONDS -lt 120 ]; do
    one &
    sleep {CALL_EVERY}
done
wait"
    )
}

/// The first block of PEM of this kind.
fn block(text: &str, kind: &str) -> Result<String> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let from = text.find(&begin).with_context(|| format!("no {kind}"))?;
    let to = text[from..].find(&end).with_context(|| format!("no end of {kind}"))?;
    Ok(format!("{}\n", &text[from..from + to + end.len()]))
}

/// The Ethernet address in a line of `arping` or `ip neigh`, in lower case.
fn mac_in(line: &str) -> Option<String> {
    let words = line.split([' ', '[', ']', '(', ')', ',']);
    let is_mac = |word: &&str| {
        let hex = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        word.len() == 17 && word.split(':').all(hex)
    };
    words.into_iter().find(is_mac).map(str::to_lowercase)
}

#[cfg(test)]
mod tests;
