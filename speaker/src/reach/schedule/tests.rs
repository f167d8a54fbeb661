use super::*;

const EVERY: Duration = Duration::from_secs(10);

fn vips(count: u32) -> BTreeSet<IpAddr> {
    (0..count).map(|number| std::net::Ipv4Addr::from(0x0a4d_0000 + number).into()).collect()
}

/// Runs so long, with visits that take no time; when each VIP was asked for.
fn run(count: u32, seconds: u64) -> BTreeMap<IpAddr, Vec<Duration>> {
    let start = Instant::now();
    let mut number = 0_u32;
    let mut chance = move || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(number >> 8) / f64::from(1 << 24)
    };
    let mut schedule = Schedule::new(EVERY);
    schedule.follow(start, &vips(count), &mut chance);
    let mut asked: BTreeMap<IpAddr, Vec<Duration>> = BTreeMap::new();
    while let Some(now) = schedule.due().filter(|due| *due < start + Duration::from_secs(seconds)) {
        let vip = schedule.take(now).expect("it is due");
        assert_eq!(schedule.take(now), None, "one at a time");
        asked.entry(vip).or_default().push(now - start);
        schedule.done(now, vip, chance());
    }
    asked
}

#[test]
fn each_is_asked_for_about_once_in_an_interval() {
    for (vip, times) in run(50, 100) {
        assert!(times[0] < EVERY + Duration::from_secs(3), "{vip}: {times:?}");
        for two in times.windows(2) {
            let apart = (two[1] - two[0]).as_secs_f64();
            assert!((7.5..=15.0).contains(&apart), "{vip}: {apart}");
        }
    }
}

#[test]
fn a_thousand_take_longer_and_none_is_left_out() {
    let asked = run(1_000, 110);
    assert_eq!(asked.len(), 1_000);
    let all: usize = asked.values().map(Vec::len).sum();
    assert!(all <= 110 * PACE as usize + 1, "{all} in 110 s");
    for (vip, times) in asked {
        assert!(times.len() >= 2, "{vip}: {times:?}");
        assert!(times[1] - times[0] <= Duration::from_secs(60), "{vip}: {times:?}");
    }
}

#[test]
fn what_is_gone_is_not_asked_for_and_what_is_under_way_is_not_asked_for_twice() {
    let (now, all) = (Instant::now(), vips(2));
    let mut schedule = Schedule::new(EVERY);
    assert_eq!(schedule.due(), None);
    schedule.follow(now, &all, || 0.0);
    let first = schedule.take(now).unwrap();
    let later = now + EVERY;
    let second = schedule.take(later).unwrap();
    assert_ne!(first, second);
    schedule.follow(later, &all, || 0.0);
    assert_eq!((schedule.due(), schedule.take(later + EVERY)), (None, None));
    schedule.follow(later, &[second].into(), || 0.0);
    schedule.done(later, first, 0.5);
    schedule.done(later, second, 0.5);
    assert_eq!(schedule.due(), Some(later + EVERY));
    assert_eq!(schedule.take(later + EVERY), Some(second));
}
