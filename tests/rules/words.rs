//! Tokens, times, durations, and the moment that a sender wrote.

use serde_json::json;
use switchboard::domain::words::{SentAt, Wait};
use switchboard::domain::{By, ConversationId, Name, Role, Time};

use super::say::*;

#[test]
fn a_token_is_1_to_128_bytes_of_a_few_characters() {
    let longest = "x".repeat(128);
    for good in ["a", "Z9", "a_b-c=d:e+f@g~h", "-", "0", longest.as_str()] {
        assert!(Name::parse(good).is_ok(), "{good}");
        assert!(ConversationId::parse(good).is_ok(), "{good}");
    }
    let too_long = "x".repeat(129);
    for bad in
        ["", "a b", "a.b", "*", ">", "a*", "é", "a/b", "a\nb", "a\0", "$a", "a,b", "a#b", "a%b", too_long.as_str()]
    {
        assert!(Name::parse(bad).is_err(), "{bad:?}");
        assert!(ConversationId::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_do_not_start_with_an_underscore_and_conversation_ids_may() {
    assert!(Name::parse("_config").is_err() && Name::parse("_").is_err() && Name::parse("a_").is_ok());
    assert!(ConversationId::parse("_c").is_ok());
}

#[test]
fn the_conversation_id_of_the_configuration_is_reserved() {
    assert!(ConversationId::parse("_config").is_err());
    assert!(ConversationId::parse("_config2").is_ok() && ConversationId::parse("config").is_ok());
}

#[test]
fn a_bad_token_says_what_is_expected_and_what_came() {
    let said = Name::parse("a b").expect_err("a space").to_string();
    assert!(said.contains("expected") && said.contains("' '"), "{said}");
    let said = Name::parse(&"x".repeat(200)).expect_err("too long").to_string();
    assert!(said.contains("128") && said.contains("200"), "{said}");
}

#[test]
fn times_are_written_in_utc_with_three_decimals() {
    assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
    assert_eq!(Time(1_769_860_800_007).to_string(), "2026-01-31T12:00:00.007Z");
    assert_eq!(serde_json::to_value(Time(1_500)).expect("JSON"), json!("1970-01-01T00:00:01.500Z"));
}

#[test]
fn every_day_is_written_as_the_calendar_has_it() {
    const DAY_MS: u64 = 86_400_000;
    const CYCLE: u64 = 146_097; // the calendar repeats itself after 400 years
    for day in (0..CYCLE).chain((CYCLE..2_932_896).step_by(13)) {
        let ms = day * DAY_MS + day * 7_919 % DAY_MS;
        let stamp = jiff::Timestamp::from_millisecond(ms as i64).expect("it is before the year 10000");
        assert_eq!(Time(ms).to_string(), format!("{stamp:.3}"));
    }
    assert_eq!(Time(u64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
}

#[test]
fn times_are_read_with_any_offset_and_precision() {
    let noon = Time(1_769_860_800_000);
    for text in
        ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z", "2026-01-31T13:30:00+01:30", "2026-01-31t12:00:00z"]
    {
        assert_eq!(Time::parse(text), Ok(noon), "{text}");
    }
    assert_eq!(Time::parse("2026-01-31T12:00:00.123456789Z"), Ok(noon.plus_ms(123)));
    for bad in ["", "noon", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "1969-12-31T23:59:59Z", "5"] {
        assert!(Time::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    for time in [Time(0), Time(1), Time(999), Time(1_769_860_800_123), Time(253_402_207_200_000)] {
        assert_eq!(Time::parse(&time.to_string()), Ok(time));
        assert_eq!(serde_json::from_value::<Time>(json!(time.to_string())).expect("read back"), time);
    }
}

#[test]
fn a_time_has_a_t_whole_decimals_if_any_and_an_offset_below_a_day() {
    for good in ["+23:59", "-23:59", ".5+00:00", "Z", "z", ".1234567890123Z"] {
        assert!(Time::parse(&format!("2026-01-31T12:00:00{good}")).is_ok(), "{good}");
    }
    for bad in [
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.+01:00",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00-24:00",
        "2026-01-31T12:00:00+25:30",
        "2026-01-31T12:00:00+0100",
        "2026-01-31T12:00:00+01",
        "2026-01-31T12:00:00Z[UTC]",
        "2026-01-31T12:00:00.5",
    ] {
        assert!(Time::parse(bad).is_err() && SentAt::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_error_repeats_the_beginning_of_what_was_wrong_and_no_more() {
    let (short, long) = ("\u{e9}".repeat(40), "\u{e9}".repeat(41));
    for fault in
        [Time::parse(&short).unwrap_err(), Wait::parse(&short).unwrap_err(), SentAt::parse(&short).unwrap_err()]
    {
        assert!(fault.ends_with(&format!("got {short:?}")), "{fault}");
    }
    for fault in [Time::parse(&long).unwrap_err(), Wait::parse(&long).unwrap_err(), SentAt::parse(&long).unwrap_err()] {
        assert!(fault.ends_with(&format!("got {:?}", format!("{short}…"))), "{fault}");
    }
}

#[test]
fn a_time_too_far_off_is_the_last_that_can_be_written() {
    let last = Time(u64::MAX - 1).plus_ms(5);
    assert_eq!(Time::parse(&last.to_string()), Ok(last));
    assert_eq!(Time::parse("9999-12-30T22:00:00.5Z"), Ok(last));
    // With these many say that something goes on for ever.
    for forever in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999-23:59", "9999-12-30T22:00:01+02:00"] {
        assert_eq!(Time::parse(forever).map(|time| time.0 / 1000 + 2 * 3600 >= last.0 / 1000), Ok(true), "{forever}");
    }
    assert_eq!(Time::parse("9999-12-31T00:00:00Z"), Ok(last));
    for wrong in ["9999-12-32T00:00:00Z", "9999-12-31T24:00:00Z", "9999-12-31T00:00:00+00:75", "9999-12-31T00:00:00"] {
        assert!(Time::parse(wrong).is_err(), "{wrong}");
    }
    assert_eq!(Time(5).ms_since(Time(9)), 0);
}

#[test]
fn a_duration_is_a_whole_number_and_a_unit_or_never() {
    let read = [
        ("1s", 1_000),
        ("90s", 90_000),
        ("15m", 900_000),
        ("24h", 86_400_000),
        ("366d", 366 * 86_400_000),
        ("007s", 7_000),
    ];
    for (text, ms) in read {
        assert_eq!(Wait::parse(text), Ok(Wait::Ms(ms)), "{text}");
    }
    assert_eq!(Wait::parse("never"), Ok(Wait::Never));
    let huge = "99999999999999999999s";
    for bad in ["", "s", "0s", "367d", "8785h", "1.5h", "-1s", "+1s", "1", "1 s", "1w", "1ms", "Never", "1S", "é", huge]
    {
        assert!(Wait::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_duration_is_written_in_the_largest_unit_that_is_exact() {
    for (read, written) in
        [("90s", "90s"), ("120s", "2m"), ("24h", "1d"), ("25h", "25h"), ("60m", "1h"), ("never", "never")]
    {
        assert_eq!(Wait::parse(read).expect(read).to_string(), written);
    }
}

#[test]
fn a_moment_is_compared_at_the_precision_that_it_was_written_in() {
    let moment = Time::parse("2026-01-31T12:00:05.678Z").expect("a time");
    let before = |text: &str| SentAt::parse(text).expect(text).is_before(moment);
    for text in [
        "2026-01-31T12:00:04Z",
        "2026-01-31T12:00:05.5Z",
        "2026-01-31T12:00:05.66Z",
        "2026-01-31T12:00:05.677Z",
        "2026-01-31T12:00:05.677999Z",
        "2026-01-31T13:00:04+01:00",
    ] {
        assert!(before(text), "{text}");
    }
    for text in [
        "2026-01-31T12:00:05Z",
        "2026-01-31T12:00:05.6Z",
        "2026-01-31T12:00:05.67Z",
        "2026-01-31T12:00:05.678Z",
        "2026-01-31T12:00:05.678000Z",
        "2026-01-31T12:00:06Z",
        "2026-01-31T07:00:05-05:00",
    ] {
        assert!(!before(text), "{text}");
    }
    assert!(SentAt::parse("yesterday").is_err());
}

#[test]
fn who_did_it_is_written_with_name_and_actor_for_callers_alone() {
    let ann = By::caller(Role::Integration, name("agents"), Some("ann".into()));
    let written = |by: &By| serde_json::to_value(by).expect("JSON");
    assert_eq!(written(&ann), json!({"role": "integration", "name": "agents", "actor": "ann"}));
    assert_eq!(written(&web()), json!({"role": "channel", "name": "web", "actor": null}));
    assert_eq!(written(&olga()), json!({"role": "operator", "name": "olga", "actor": null}));
    assert_eq!(written(&By::timer()), json!({"role": "timer"}));
    assert_eq!(written(&By::config()), json!({"role": "config"}));
    for by in [ann, web(), By::timer(), By::config()] {
        assert_eq!(serde_json::from_value::<By>(written(&by)).expect("read back"), by);
    }
}
