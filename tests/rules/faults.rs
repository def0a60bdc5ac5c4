//! What is said of a configuration that cannot be taken: where, what was expected, what came, and not too much of it.

use switchboard::domain::Refusal;
use switchboard::domain::config::document::{Document, FAULTS_MAX};

/// The faults of a text, each in words.
fn faults(text: &str) -> Vec<String> {
    let value = toml::from_str(text).expect("TOML");
    Document::parse(&value).expect_err("it has faults").texts().to_vec()
}

/// A text with so many unknown settings.
fn unknown(count: usize) -> String {
    let settings: Vec<String> = (0..count).map(|at| format!("s{at} = 1")).collect();
    format!("[settings]\n{}", settings.join("\n"))
}

#[test]
fn as_many_faults_are_told_as_somebody_would_mend_and_then_their_number() {
    assert_eq!(faults(&unknown(FAULTS_MAX - 1)).len(), FAULTS_MAX - 1);
    let whole = faults(&unknown(FAULTS_MAX));
    assert!(whole.len() == FAULTS_MAX && whole.iter().all(|fault| fault.contains("unknown field")));
    let more = faults(&unknown(FAULTS_MAX + 7));
    assert_eq!((more.len(), more[FAULTS_MAX].as_str()), (FAULTS_MAX + 1, "and 7 more"));
}

#[test]
fn an_entry_without_a_name_is_told_by_its_number() {
    let faults =
        faults("[[integration]]\nname = \"a\"\n[[integration]]\nstandby = true\n[[integration]]\nenabled = true");
    assert!(faults[0].starts_with("integration 2: ") && faults[1].starts_with("integration 3: "), "{faults:?}");
}

#[test]
fn a_count_is_whole_however_it_is_written() {
    let written = |count: &str| toml::from_str(&format!("[settings]\nopen_conversations_max = {count}")).expect("TOML");
    for count in ["1000", "1000.0", "1e3"] {
        let document = Document::parse(&written(count)).expect(count);
        assert_eq!(document.settings.open_conversations_max, 1000);
    }
    for count in ["1.5", "-1.0", "1e16", "0", "-1", "10000000001"] {
        assert!(Document::parse(&written(count)).is_err(), "{count}");
    }
}

#[test]
fn what_came_instead_is_told() {
    for (came, told) in
        [("1", "1"), ("1.5", "1.5"), ("\"yes\"", "\"yes\""), ("[1]", "a list"), ("{ a = 1 }", "a table")]
    {
        let expected = format!("settings: reopen: expected true or false, got {told}");
        assert_eq!(faults(&format!("[settings]\nreopen = {came}")), [expected]);
    }
}

#[test]
fn a_refusal_of_form_says_what_is_wrong() {
    assert_eq!(Refusal::BadRequest("to: expected a name".into()).message(), "to: expected a name");
    assert!(Refusal::SettingsConflict(vec!["x".into(), "y".into()]).message().contains('x'));
    let others = [Refusal::Busy, Refusal::Stopping, Refusal::StorageFull, Refusal::LogFailed, Refusal::StaleVersion];
    let mut told: Vec<String> = others.iter().map(Refusal::message).collect();
    told.sort();
    told.dedup();
    assert!(told.len() == others.len() && told.iter().all(|message| message.contains(' ')), "{told:?}");
}
