use super::*;

const DAY: i64 = 86_400;
const NOW: i64 = 1_795_411_320;
const IMAGE: &str = "debian/trixie/amd64/default";

fn now() -> Timestamp {
    Timestamp::from_unix(NOW)
}

/// The build of `days` ago.
fn build(days: i64) -> BuildId {
    let serial = formats::serial::Serial::at(Timestamp::from_unix(NOW - days * DAY));
    BuildId { image: IMAGE.parse().unwrap(), serial }
}

fn candidates(days: &[i64]) -> Vec<Candidate> {
    let candidate = |days: &i64| Candidate {
        build: build(*days),
        created: Timestamp::from_unix(NOW - days * DAY),
        is_past_end_of_life: false,
    };
    days.iter().map(candidate).collect()
}

fn set(days: &[i64]) -> BTreeSet<BuildId> {
    days.iter().map(|days| build(*days)).collect()
}

/// A channel of that name with those builds, as `Channel::read` gives it.
fn channel(name: &str, days: &[i64]) -> Channel {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let mut channel = Channel::read(&data, &name.parse().unwrap()).unwrap();
    channel.builds = set(days);
    channel
}

fn ledger(listed: &[i64], unlisted: &[(i64, i64)]) -> Ledger {
    let unlisted = unlisted.iter().map(|(days, seconds)| (build(*days), Timestamp::from_unix(NOW - seconds)));
    Ledger { listed: set(listed), unlisted: unlisted.collect() }
}

const KEEP_TWO: Retention = Retention { keep: 2, older_than: None, grace: Retention::GRACE };

#[test]
fn the_newest_builds_and_pinned_ones_stay_in_a_channel() {
    let days = [0, 1, 2, 3];
    let plan = KEEP_TWO.plan(&candidates(&days), &[channel("stable", &days)], &set(&[3]), &ledger(&days, &[]), now());
    assert_eq!(plan.unlist, set(&[2]));
    assert_eq!(plan.remove, set(&[]));
    assert_eq!(plan.waiting[&build(2)], now() + Retention::GRACE);
}

#[test]
fn each_channel_keeps_its_own_newest() {
    let channels = [channel("stable", &[5, 6, 7]), channel("staging", &[0, 1, 2])];
    let days = [0, 1, 2, 5, 6, 7];
    let plan = KEEP_TWO.plan(&candidates(&days), &channels, &set(&[]), &ledger(&days, &[]), now());
    assert_eq!(plan.unlist, set(&[2, 7]));
}

#[test]
fn the_last_build_of_an_image_is_never_removed() {
    let none = Retention { keep: 0, older_than: Some(Span::from_days(1)), grace: Span::from_seconds(0) };
    for channels in [vec![channel("stable", &[400])], vec![]] {
        let plan = none.plan(&candidates(&[400]), &channels, &set(&[]), &ledger(&[], &[(400, 400 * DAY)]), now());
        assert_eq!(plan, Plan::default());
    }
}

#[test]
fn young_builds_stay_whatever_their_number() {
    let young = Retention { older_than: Some(Span::from_days(3)), ..KEEP_TWO };
    let days = [0, 1, 2, 3, 4];
    let plan = young.plan(&candidates(&days), &[channel("stable", &days)], &set(&[]), &ledger(&days, &[]), now());
    assert_eq!(plan.unlist, set(&[3, 4]));
}

#[test]
fn of_an_image_past_its_end_of_life_one_build_stays() {
    let mut past = candidates(&[1, 2]);
    for candidate in &mut past {
        candidate.is_past_end_of_life = true;
    }
    let plan = KEEP_TWO.plan(&past, &[channel("stable", &[1, 2])], &set(&[]), &ledger(&[1, 2], &[]), now());
    assert_eq!(plan.unlist, set(&[2]));
}

#[test]
fn what_was_listed_within_the_grace_is_not_removed_and_what_was_listed_before_is() {
    let channels = [channel("stable", &[0])];
    let ledger = ledger(&[0, 4], &[(1, DAY - 1), (2, DAY), (3, DAY + 1)]);
    let plan = KEEP_TWO.plan(&candidates(&[0, 1, 2, 3, 4]), &channels, &set(&[]), &ledger, now());
    assert_eq!(plan.remove, set(&[2, 3]));
    assert_eq!(plan.waiting.keys().cloned().collect::<BTreeSet<_>>(), set(&[1, 4]));
}

#[test]
fn a_build_that_leaves_its_channel_counts_as_listed_until_then() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let writer = data.write(&terminal::Printer::captured(true).0).unwrap();
    let note = |builds: &[i64], published| {
        let mut ledger = Ledger::read(&data).unwrap();
        let is_new = ledger.note_published(&[channel("staging", &[]), channel("stable", builds)], published);
        ledger.write(&writer).unwrap();
        is_new
    };
    assert!(note(&[0, 1], Timestamp::from_unix(NOW - DAY)));
    assert!(note(&[0], now()));
    assert_eq!(Ledger::read(&data).unwrap(), ledger(&[0], &[(1, 0)]));
    assert!(!note(&[0], now()));
    assert!(note(&[0, 1], now()));
    assert_eq!(Ledger::read(&data).unwrap(), ledger(&[0, 1], &[]));
}
