//! The configurations, as text.

use std::fmt::Write;

use super::Setup;

/// Writing into a text cannot fail.
const TEXT: &str = "a String takes everything";

pub(super) fn frr(setup: &Setup) -> String {
    let mut text = format!(
        "log stdout informational\nrouter bgp {}\n bgp router-id 10.9.0.1\n no bgp ebgp-requires-policy\n \
         bgp log-neighbor-changes\n no bgp network import-check\n bgp bestpath as-path multipath-relax\n \
         bgp graceful-restart stalepath-time 30\n",
        setup.asn
    );
    for peer in &setup.peers {
        let (address, interface) = match peer.address.split_once('%') {
            Some((address, interface)) => (address, Some(interface)),
            None => (peer.address.as_str(), None),
        };
        let mut line = |rest: &str| writeln!(text, " neighbor {address} {rest}").expect(TEXT);
        if address.starts_with("eth") {
            line("interface remote-as external");
        } else {
            line(&format!("remote-as {}", peer.asn));
            if !peer.dials {
                line("passive");
            }
        }
        if peer.dials {
            line("timers connect 1");
        }
        line("timers 3 9");
        if peer.without_capabilities {
            line("dont-capability-negotiate");
        } else {
            line("capability extended-nexthop");
        }
        if let Some(interface) = interface {
            line(&format!("interface {interface}"));
        }
        if let Some(password) = &peer.password {
            line(&format!("password {password}"));
        }
        if peer.multihop {
            line("ebgp-multihop 8");
            line(&format!("update-source {}", peer.local));
        }
        if peer.ttl_security {
            line("ttl-security hops 1");
        }
        if peer.graceful_restart {
            line("graceful-restart");
        }
        if peer.bfd.is_some() {
            line("bfd profile lab");
        }
    }
    for (family, route) in [("ipv4", "198.51.100.0/24"), ("ipv6", "2001:db8:5::/64")] {
        writeln!(text, " address-family {family} unicast\n  maximum-paths 16").expect(TEXT);
        for peer in &setup.peers {
            let address = peer.address.split('%').next().unwrap_or_default();
            writeln!(text, "  neighbor {address} activate").expect(TEXT);
            if peer.announces {
                writeln!(text, "  network {route}").expect(TEXT);
            }
        }
        text.push_str(" exit-address-family\n");
    }
    text
}

pub(super) fn bfdd(setup: &Setup) -> String {
    let interval = setup.peers.iter().find_map(|peer| peer.bfd).unwrap_or(300);
    let mut text = format!(
        "log stdout\nbfd\n profile lab\n  detect-multiplier 3\n  receive-interval {interval}\n  \
         transmit-interval {interval}\n"
    );
    if let Some(echo) = setup.peers.iter().find_map(|peer| peer.echo) {
        writeln!(
            text,
            "  echo-mode\n  echo transmit-interval {echo}\n  echo receive-interval {echo}"
        )
        .expect(TEXT);
    }
    text
}

pub(super) fn bird(setup: &Setup) -> String {
    let mut text = String::from(
        "router id 10.9.0.1;\nprotocol device { scan time 1; }\n\
         protocol kernel k4 { learn; ipv4 { export all; }; merge paths on limit 16; }\n\
         protocol kernel k6 { ipv6 { export all; }; merge paths on limit 16; }\n\
         protocol static s4 { ipv4; route 198.51.100.0/24 unreachable; }\n\
         protocol static s6 { ipv6; route 2001:db8:5::/64 unreachable; }\n",
    );
    if let Some(interval) = setup.peers.iter().find_map(|peer| peer.bfd) {
        writeln!(
            text,
            "protocol bfd {{ interface \"eth*\" {{ interval {interval} ms; multiplier 3; }}; \
             multihop {{ interval {interval} ms; multiplier 3; }}; }}"
        )
        .expect(TEXT);
    }
    for (number, peer) in setup.peers.iter().enumerate() {
        let export = if peer.announces { "where source = RTS_STATIC" } else { "none" };
        let mut options = String::new();
        if let Some(password) = &peer.password {
            write!(options, "password \"{password}\"; ").expect(TEXT);
        }
        options.push_str(if peer.multihop { "multihop 8; " } else { "direct; " });
        if peer.ttl_security {
            options.push_str("ttl security on; ");
        }
        if peer.bfd.is_some() {
            options.push_str("bfd on; ");
        }
        let aware = if peer.graceful_restart { "on" } else { "off" };
        writeln!(
            text,
            "protocol bgp peer{number} {{ local {} as {}; neighbor {} as {}; passive {}; \
             connect delay time 1; connect retry time 1; hold time 9; error wait time 1, 2; graceful restart {aware}; {options}\n\
             ipv4 {{ import all; export {export}; extended next hop on; }};\n\
             ipv6 {{ import all; export {export}; }}; }}",
            peer.local,
            setup.asn,
            peer.address,
            peer.asn,
            if peer.dials { "no" } else { "yes" }
        )
        .expect(TEXT);
    }
    text
}
