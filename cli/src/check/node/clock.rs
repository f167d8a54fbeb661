//! The clock of the host. The kernel tells whether it is kept only by a system call for which there is no
//! safe function here, so systemd is asked, where it is there.

use std::process::{Command, Stdio};

use jiff::Timestamp;

use crate::check::catalogue::Check;
use crate::check::finding::Finding;

/// A clock that says less is wrong: this version did not exist then.
const RELEASED: i64 = 1_790_000_000;

/// Asks.
pub(super) fn look() -> Finding {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let said = asked.ok().filter(|output| output.status.success());
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    clock(Timestamp::now(), said.as_deref())
}

/// `kept`: what systemd says, `yes` or `no`.
fn clock(now: Timestamp, kept: Option<&str>) -> Finding {
    let check = Check::CLOCK;
    if now.as_second() < RELEASED {
        return Finding::error(
            check,
            format!("it says {now:.0}, which is before this version was made"),
        );
    }
    match kept {
        Some("yes") => Finding::ok(check, "kept by NTP"),
        Some("no") => Finding::warning(check, "nothing keeps it (NTPSynchronized=no)"),
        _ => Finding::unseen(
            check,
            "systemd (`timedatectl`) does not answer here; see `chronyc tracking` or `ntpq -p`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Verdict;

    #[test]
    fn a_clock_is_kept_or_not_or_nobody_knows() {
        let now = Timestamp::from_second(RELEASED + 1).unwrap();
        assert_eq!(clock(now, Some("yes")).verdict, Verdict::Ok);
        assert_eq!(clock(now, Some("no")).verdict, Verdict::Warning);
        assert_eq!(clock(now, None).verdict, Verdict::NotLookedAt);
        assert_eq!(clock(now, Some("?")).verdict, Verdict::NotLookedAt);
        assert_eq!(clock(Timestamp::UNIX_EPOCH, Some("yes")).verdict, Verdict::Error);
    }
}
