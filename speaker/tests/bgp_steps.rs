//! Sessions of the BGP state machine, step by step, as recorded in `bgp_steps/*.txt`.
//!
//! A file is a session: lines with `>` are what happens, the lines with `<` below are what is done
//! about it, `=` is the state after that. A connection that the peer made is `theirs`, the other one
//! goes without saying. `BLESS=1` writes the latter two anew. One file and not
//! one per step: a session is read from top to bottom.

// clippy.toml allows it in tests, but does not see that what they share is a test too.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vipgate_speaker::bgp::fsm::{
    Config, Fsm, Input, Origin, Output, PeerAs, Restart, Session, Timer,
};
use vipgate_speaker::bgp::wire::{
    Capabilities, Cease, Control, Family, GracefulRestart, Message, Notification, Open, Received,
    Refresh, WireError,
};

#[test]
fn recorded_sessions_go_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bgp_steps");
    let entries = fs::read_dir(&folder).expect("the folder is beside this file");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 51, "{files:?}");
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let recorded = fs::read_to_string(&file).unwrap();
        let found = replay(&recorded);
        if bless {
            fs::write(&file, found).unwrap();
        } else if found != recorded {
            wrong.push(format!("{}:\n{}", file.display(), difference(&recorded, &found)));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 records anew\n{}", wrong.join("\n"));
}

fn difference(recorded: &str, found: &str) -> String {
    let mut recorded_lines = recorded.lines();
    let lines = found.lines().map(|line| match recorded_lines.next() {
        Some(same) if same == line => format!("  {line}"),
        other => format!("! {line}    (recorded: {})", other.unwrap_or("nothing")),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text again, with what is done now.
fn replay(recorded: &str) -> String {
    let mut config = config();
    let mut fsm = None;
    let mut found = String::new();
    for line in recorded.lines() {
        match line.split_at_checked(1) {
            Some(("<" | "=", _)) => {}
            Some((">", event)) => {
                let fsm = fsm.get_or_insert_with(|| Fsm::new(config.clone(), 7));
                writeln!(found, "{line}").unwrap();
                for output in fsm.handle(input(event.trim())) {
                    writeln!(found, "< {}", show(&output)).unwrap();
                }
                writeln!(found, "= {:?}", fsm.state()).unwrap();
            }
            _ => {
                if let Some(settings) = line.strip_prefix("config ") {
                    set(&mut config, settings);
                }
                writeln!(found, "{line}").unwrap();
            }
        }
    }
    found
}

fn config() -> Config {
    Config {
        asn: 65001,
        router_id: [10, 9, 0, 2].into(),
        peer_as: PeerAs::Exactly(65002),
        multihop: false,
        hold_time: Duration::from_secs(90),
        keepalive_time: None,
        connect_time: Duration::from_secs(30),
        passive: false,
        families: Family::ALL.into(),
        extended_next_hop: false,
        graceful_restart: None,
        drain_mark: Duration::from_secs(1),
        drain_settle: Duration::from_secs(5),
    }
}

/// `key=value` pairs, in any order.
fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace().map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap())
}

fn families(text: &str) -> BTreeSet<Family> {
    let name = |one| match one {
        "4" => Family::Ipv4,
        "6" => Family::Ipv6,
        other => panic!("{other}"),
    };
    text.split(',').filter(|one| !one.is_empty()).map(name).collect()
}

fn set(config: &mut Config, text: &str) {
    for (key, value) in pairs(text) {
        match key {
            "asn" => config.asn = value.parse().unwrap(),
            "peer" => {
                config.peer_as = match value {
                    "internal" => PeerAs::Internal,
                    "external" => PeerAs::External,
                    number => PeerAs::Exactly(number.parse().unwrap()),
                }
            }
            "multihop" => config.multihop = true,
            "passive" => config.passive = true,
            "id" => config.router_id = value.parse().unwrap(),
            "hold" => config.hold_time = seconds(value),
            "keepalive" => config.keepalive_time = Some(seconds(value)),
            "families" => config.families = families(value),
            "extended" => config.extended_next_hop = true,
            "restart" => {
                config.graceful_restart = Some(restart(value));
            }
            other => panic!("{other}"),
        }
    }
}

/// Seconds, and after a slash families: all of them when there is no slash.
fn restart(text: &str) -> Restart {
    let (time, of) = text.split_once('/').unwrap_or((text, "4,6"));
    Restart { time: seconds(time), restarted: true, families: families(of) }
}

fn input(event: &str) -> Input {
    let (origin, event) = match event.strip_prefix("theirs ") {
        Some(event) => (Origin::Theirs, event),
        None => (Origin::Ours, event),
    };
    let (verb, rest) = event.split_once(' ').unwrap_or((event, ""));
    match verb {
        "called" => Input::Called { on_link: rest != "through a router" },
        "deaf" => Input::Deaf((!rest.is_empty()).then(|| rest.to_owned())),
        "start" => Input::Start,
        "connected" => Input::Connected { on_link: rest != "through a router" },
        "refused" => Input::ConnectFailed("refused".to_owned()),
        "closed" => Input::Closed(origin, "reset".to_owned()),
        "progress" => Input::Progress,
        "bfd-down" => Input::BfdDown,
        "timer" => Input::Timer(timer(rest)),
        "stop" => Input::Stop { text: rest.to_owned(), gracefully: false },
        "end" => Input::End(match rest {
            "deconfigured" => Cease::PeerDeconfigured,
            "changed" => Cease::OtherConfigurationChange,
            other => panic!("{other}"),
        }),
        "offer" => Input::Offer((!rest.is_empty()).then(|| restart(rest))),
        "drain" => Input::Stop { text: rest.to_owned(), gracefully: true },
        "garbage" => Input::Malformed(origin, WireError::Marker),
        "open" => Input::Received(origin, Message::Open(open(rest))),
        "keepalive" => Input::Received(origin, Message::Keepalive),
        "update" => Input::Received(origin, Message::Update(Received::default())),
        "refresh" => {
            let family = families(rest).first().copied();
            let refresh = family.map_or(Refresh::Ignored, Refresh::Request);
            Input::Received(origin, Message::Refresh(refresh))
        }
        "notification" => {
            let (code, subcode) = rest.split_once('/').unwrap();
            let (code, subcode) = (code.parse().unwrap(), subcode.parse().unwrap());
            let notification = Notification { code, subcode, data: vec![] };
            Input::Received(origin, Message::Notification(notification))
        }
        other => panic!("{other}"),
    }
}

fn timer(name: &str) -> Timer {
    match name {
        "Retry" => Timer::Retry,
        "Hold" => Timer::Hold,
        "Keepalive" => Timer::Keepalive,
        "SendHold" => Timer::SendHold,
        "Drain" => Timer::Drain,
        "Rival" => Timer::Rival,
        "Grace" => Timer::Grace,
        other => panic!("{other}"),
    }
}

fn open(text: &str) -> Open {
    let mut open = Open {
        asn: 65002,
        hold_time: 90,
        router_id: [10, 9, 0, 1].into(),
        capabilities: Capabilities {
            families: Family::ALL.into(),
            as4: true,
            route_refresh: true,
            ..Capabilities::default()
        },
    };
    for (key, value) in pairs(text) {
        match key {
            "as" => open.asn = value.parse().unwrap(),
            "hold" => open.hold_time = value.parse().unwrap(),
            "id" => open.router_id = value.parse().unwrap(),
            "families" => open.capabilities.families = families(value),
            "two-byte" => open.capabilities.as4 = false,
            "extended" => open.capabilities.extended_next_hop = true,
            "restart" => {
                let time = value.parse().unwrap();
                let restart = GracefulRestart { time, ..GracefulRestart::default() };
                open.capabilities.graceful_restart = Some(restart);
            }
            other => panic!("{other}"),
        }
    }
    open
}

fn show(output: &Output) -> String {
    match output {
        Output::Connect => "connect".to_owned(),
        Output::Accept => "accept".to_owned(),
        Output::Refuse(notification) => format!("refuse {notification}"),
        Output::Close(origin) => format!("{}close", whose(*origin)),
        Output::Send(origin, Control::Open(open)) => {
            format!("{}send OPEN {}", whose(*origin), show_open(open))
        }
        Output::Send(origin, Control::Keepalive) => format!("{}send KEEPALIVE", whose(*origin)),
        Output::Send(origin, Control::Notification(last)) => {
            format!("{}send NOTIFICATION {last}", whose(*origin))
        }
        Output::Set(timer, time) => format!("set {timer:?} {time:?}"),
        Output::Clear(timer) => format!("clear {timer:?}"),
        Output::ClearAll => "clear all timers".to_owned(),
        Output::Up(origin, session) => format!("{}up {}", whose(*origin), show_session(session)),
        Output::Resend(family) => format!("resend {family:?}"),
        Output::MarkRoutes => "mark routes".to_owned(),
        Output::WithdrawRoutes => "withdraw routes".to_owned(),
        Output::Down(down) => format!("down: {down}"),
    }
}

fn whose(origin: Origin) -> &'static str {
    match origin {
        Origin::Ours => "",
        Origin::Theirs => "theirs ",
    }
}

fn show_open(open: &Open) -> String {
    let Capabilities { families, extended_next_hop, graceful_restart, .. } = &open.capabilities;
    let mut text = format!("as={} hold={} families={families:?}", open.asn, open.hold_time);
    if *extended_next_hop {
        text.push_str(" extended");
    }
    if let Some(restart) = graceful_restart {
        let GracefulRestart { restarting, time, families } = restart;
        write!(text, " restart={time} restarting={restarting} forwarding={families:?}").unwrap();
    }
    text
}

fn show_session(session: &Session) -> String {
    let Session { peer_as, hold, keepalive, families, as4, extended_next_hop, .. } = session;
    format!(
        "peer_as={peer_as} internal={} hold={hold:?} keepalive={keepalive:?} families={families:?} \
         as4={as4} extended={extended_next_hop}",
        session.internal()
    )
}
