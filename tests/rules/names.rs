//! The names that other programs read: events, their causes, refusals. None is ever used for something else.

use serde::Serialize;
use serde_json::json;
use switchboard::domain::Refusal;
use switchboard::domain::conversation::Status;
use switchboard::domain::event::*;
use switchboard::domain::metadata::MetadataTooLarge;

use super::say::*;

fn written(causes: &[impl Serialize]) -> Vec<String> {
    let text = |cause| serde_json::to_value(cause).expect("JSON").as_str().expect("a string").to_owned();
    causes.iter().map(text).collect()
}

#[test]
fn ten_events_can_happen_to_a_conversation() {
    let names = Kind::ALL.map(|kind| kind.full_name().trim_start_matches("switchboard."));
    let expected = [
        "conversation.started",
        "conversation.reopened",
        "control.assigned",
        "control.passed",
        "control.offered",
        "control.offer_withdrawn",
        "control.accepted",
        "control.released",
        "conversation.end_requested",
        "conversation.closed",
    ];
    assert_eq!(names, expected);
    for kind in Kind::ALL {
        assert_eq!(Kind::from_full_name(kind.full_name()), Some(kind));
    }
    assert_eq!(Kind::from_full_name("switchboard.control.stolen"), None);
}

#[test]
fn causes_are_written_as_the_contract_names_them() {
    assert_eq!(written(&[AssignCause::Start, AssignCause::Default]), ["start", "default"]);
    let passes = [PassCause::Name, PassCause::Next, PassCause::OnEnd, PassCause::Take, PassCause::Operator];
    assert_eq!(written(&passes), ["name", "next", "on_end", "take", "operator"]);
    let withdrawals = [
        WithdrawCause::Superseded,
        WithdrawCause::Declined,
        WithdrawCause::Withdrawn,
        WithdrawCause::Expired,
        WithdrawCause::Passed,
        WithdrawCause::Released,
        WithdrawCause::EndRequested,
        WithdrawCause::IntegrationRemoved,
    ];
    assert_eq!(
        written(&withdrawals),
        [
            "superseded",
            "declined",
            "withdrawn",
            "expired",
            "passed",
            "released",
            "end_requested",
            "integration_removed"
        ]
    );
    let releases = [
        ReleaseCause::Integration,
        ReleaseCause::Operator,
        ReleaseCause::EndRequested,
        ReleaseCause::EndTargetMissing,
        ReleaseCause::IntegrationRemoved,
        ReleaseCause::Deadline,
        ReleaseCause::Inactivity,
    ];
    assert_eq!(
        written(&releases),
        [
            "integration",
            "operator",
            "end_requested",
            "end_target_missing",
            "integration_removed",
            "deadline",
            "inactivity"
        ]
    );
    let ends = [EndCause::EndUser, EndCause::Integration, EndCause::Operator, EndCause::Inactivity];
    assert_eq!(written(&ends), ["end_user", "integration", "operator", "inactivity"]);
    assert_eq!(written(&[Status::Open, Status::Ending, Status::Closed]), ["open", "ending", "closed"]);
}

#[test]
fn an_event_says_its_own_fields_and_reads_them_back() {
    let Event::Passed(pass) = passed("bot", "agents", PassCause::Next).because("why").setting(json!({"a": null}))
    else {
        unreachable!("it is a pass")
    };
    let data = serde_json::to_value(&pass).expect("JSON");
    assert_eq!(data, json!({"from": "bot", "to": "agents", "cause": "next", "reason": "why", "metadata": {"a": null}}));
    let with_more = r#"{"seq":9,"from":"bot","to":"agents","cause":"next","reason":"why","metadata":{"a":null}}"#;
    assert_eq!(Event::from_data(Kind::Passed, with_more).expect("read back"), Event::Passed(pass));
}

#[test]
fn each_refusal_has_its_code_and_status() {
    let table = [
        (Refusal::TooLarge { bytes_max: 1, bytes: 2 }, "too_large", 413),
        (Refusal::BadRequest("x".into()), "bad_request", 400),
        (Refusal::BadConfiguration(vec!["x".into()]), "bad_request", 400),
        (Refusal::Busy, "busy", 503),
        (Refusal::Stopping, "busy", 503),
        (Refusal::NotAlone, "busy", 503),
        (Refusal::StorageFull, "storage_full", 507),
        (Refusal::LimitReached { limit: 1 }, "limit_reached", 429),
        (Refusal::UnknownIntegration(name("x")), "unknown_integration", 403),
        (Refusal::CommandIdReused, "command_id_reused", 409),
        (Refusal::ConversationNotFound, "conversation_not_found", 404),
        (Refusal::WrongChannel, "wrong_channel", 403),
        (Refusal::ConversationClosed, "conversation_closed", 409),
        (Refusal::StaleVersion, "stale_version", 409),
        (Refusal::EndNotAllowed, "end_not_allowed", 409),
        (Refusal::NotInControl { owner: None }, "not_in_control", 403),
        (Refusal::NotAllowed("x"), "not_allowed", 403),
        (Refusal::NotOffered, "not_offered", 403),
        (Refusal::ConversationEnding, "conversation_ending", 409),
        (Refusal::InvalidTarget("x".into()), "invalid_target", 409),
        (
            Refusal::MetadataTooLarge(MetadataTooLarge { is_patch: false, keys: 65, bytes: 9 }),
            "metadata_too_large",
            413,
        ),
        (Refusal::SettingsConflict(vec!["x".into()]), "settings_conflict", 409),
        (Refusal::LogFailed, "log_failed", 500),
        (Refusal::AnswerTooLarge { bytes: 2 }, "answer_too_large", 500),
    ];
    for (refusal, code, status) in table {
        assert_eq!((refusal.code(), refusal.status()), (code, status));
        assert!(!refusal.message().is_empty() && !refusal.message().ends_with('.'), "{}", refusal.message());
        let counted = matches!(code, "bad_request" | "too_large" | "busy");
        assert_eq!(refusal.is_only_counted(), counted, "{code}");
    }
}
