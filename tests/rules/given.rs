//! Given a configuration and what happened, when somebody asks for something, then these events and nothing else.
//!
//! What happened is asked for in the same words: `given(CONFIG).after(who, what)` decides and writes
//! down, so no story starts from a state that the rules cannot reach. After each event the
//! invariants are checked.

use serde_json::Value;
use switchboard::domain::command::{ChannelCommand, Due, Expected, IntegrationCommand, OperatorCommand};
use switchboard::domain::config::Document;
use switchboard::domain::config::change::changes;
use switchboard::domain::conversation::{Stamp, evolve};
use switchboard::domain::decide::{Scene, Verdict, check_caller, decide};
use switchboard::domain::{
    By, Command, Config, Conversation, ConversationId, Event, Refusal, Role, Text, Time, invariants,
};

/// When every story begins: 2026-01-31T12:00:00.000Z.
pub const NOON: Time = Time(1_769_860_800_000);

/// A contact centre: a bot first, agents who wrap up and may take over, a survey, one that is off.
pub const CENTRE: &str = r#"
    [settings]
    default_integration = "bot"
    multi_conversations = true
    end_user_can_end = true
    inactivity_timeout = "24h"
    release_deadline = "10m"

    [[integration]]
    name = "bot"
    next = "agents"
    inactivity_timeout = "15m"

    [[integration]]
    name = "agents"
    next = "survey"
    on_end = "hold"
    can_take = true
    inactivity_timeout = "never"

    [[integration]]
    name = "survey"

    [[integration]]
    name = "sales"
    on_end = { pass = "survey" }

    [[integration]]
    name = "old-bot"
    enabled = false

    [[channel]]
    name = "thread"
    multi_conversations = false
    end_user_can_end = false

    [[channel]]
    name = "mail"
    reopen = true
    end_user_can_end = false

    [[channel]]
    name = "silent"
    default_integration = "old-bot"
"#;

/// Where a story stands: the configuration, one conversation, the clock.
#[derive(Clone)]
pub struct Given {
    pub config: Config,
    pub conversation: Option<Conversation>,
    pub now: Time,
    pub seq: u64,
    id: ConversationId,
    expected: Expected,
    open_conversations: u64,
    user: Option<Text>,
    last_message_id: Option<Text>,
    active_at: Time,
}

/// What came of a command.
pub struct Outcome {
    before: Given,
    by: By,
    answer: Result<Verdict, Refusal>,
}

/// Something that can be asked.
pub trait Ask {
    /// As the rules take it.
    fn command(self) -> Command;
}

impl Ask for ChannelCommand {
    fn command(self) -> Command {
        Command::Channel(self)
    }
}

impl Ask for IntegrationCommand {
    fn command(self) -> Command {
        Command::Integration(self)
    }
}

impl Ask for OperatorCommand {
    fn command(self) -> Command {
        Command::Operator(self)
    }
}

impl Ask for Command {
    fn command(self) -> Command {
        self
    }
}

impl Ask for Due {
    fn command(self) -> Command {
        Command::Due(self)
    }
}

/// A story under this configuration, before its conversation is known.
pub fn given(config: &str) -> Given {
    let fresh = Given {
        config: Config::default(),
        conversation: None,
        now: NOON,
        seq: 1,
        id: ConversationId::parse("c-1").expect("a conversation id"),
        expected: Expected::default(),
        open_conversations: 0,
        user: None,
        last_message_id: None,
        active_at: NOON,
    };
    fresh.configured(config)
}

/// A document as its author wrote it.
pub fn document(text: &str) -> Document {
    let value: Value = toml::from_str(text).expect("TOML");
    Document::parse(&value).expect("a sound configuration")
}

impl Given {
    /// Puts another configuration.
    pub fn configured(mut self, text: &str) -> Given {
        for event in changes(&self.config, &document(text)) {
            self.config.evolve(&event, self.seq, self.now);
            self.seq += 1;
        }
        self
    }

    /// Puts this configuration with `from` replaced by `to`.
    pub fn reconfigured(self, text: &str, from: &str, to: &str) -> Given {
        assert!(text.contains(from), "the configuration has no {from:?}");
        self.configured(&text.replacen(from, to, 1))
    }

    /// What somebody asked for before, and got.
    pub fn after(self, by: By, command: impl Ask) -> Given {
        self.when(by, command).applied()
    }

    /// What happened before, said as events.
    pub fn events<const N: usize>(mut self, by: &By, events: [Event; N]) -> Given {
        events.iter().for_each(|event| self.write_down(by, event));
        self
    }

    /// Time goes by.
    pub fn later_ms(mut self, ms: u64) -> Given {
        self.now = self.now.plus_ms(ms);
        self
    }

    /// A message that was reported and relayed.
    pub fn last_message(mut self, id: &str) -> Given {
        self.last_message_id = Some(id.into());
        self
    }

    /// The next command says which epoch and version it knows.
    pub fn expecting(mut self, epoch: Option<u64>, version: Option<u64>) -> Given {
        self.expected = Expected { epoch, version };
        self
    }

    /// So many conversations of the channel are open.
    pub fn open_conversations(mut self, count: u64) -> Given {
        self.open_conversations = count;
        self
    }

    /// Somebody asks for something.
    pub fn when(self, by: By, command: impl Ask) -> Outcome {
        let command = command.command();
        let answer = check_caller(&by, &self.config)
            .and_then(|()| decide(self.conversation.as_ref(), &command, self.expected, &self.scene(&by)));
        let mut before = self;
        before.expected = Expected::default();
        if let Ok(Verdict::Applied(events)) = &answer {
            if command.may_begin() {
                before.active_at = before.now;
            }
            if matches!(events.first(), Some(Event::Started(_))) {
                before.last_message_id = None;
            }
            before.user = command.user().cloned().or(before.user);
            before.last_message_id = command.last_message_id().cloned().or(before.last_message_id);
        }
        Outcome { before, by, answer }
    }

    /// Something falls due.
    pub fn when_due(self, due: Due) -> Outcome {
        let by = if due == Due::Removal { By::config() } else { By::timer() };
        self.when(by, due)
    }

    /// The conversation, which there is by now.
    pub fn c(&self) -> &Conversation {
        self.conversation.as_ref().expect("the conversation has begun")
    }

    fn scene<'a>(&'a self, by: &'a By) -> Scene<'a> {
        Scene {
            id: &self.id,
            by,
            now: self.now,
            config: &self.config,
            last_message_id: self.last_message_id.as_ref(),
            open_conversations: self.open_conversations,
        }
    }

    fn write_down(&mut self, by: &By, event: &Event) {
        let before = self.conversation.clone();
        let mut after = before.clone().unwrap_or_else(|| {
            let channel = by.name.as_ref().filter(|_| by.role == Role::Channel).expect("a channel begins");
            Conversation::unborn(&self.id, channel, self.now)
        });
        let stamp = Stamp {
            seq: self.seq,
            at: self.now,
            by,
            user: self.user.as_ref(),
            last_activity_at: self.active_at,
            last_message_id: self.last_message_id.as_ref(),
        };
        evolve(&mut after, event, &stamp);
        self.seq += 1;
        if let Err(broken) = invariants::check(before.as_ref(), event, &after) {
            panic!("{broken}\nafter {event:#?}\nbefore: {before:#?}\nafter: {after:#?}");
        }
        self.conversation = Some(after);
    }
}

impl Outcome {
    /// These events and nothing else. Gives the story as it stands after them.
    #[track_caller]
    pub fn then<const N: usize>(self, expected: [Event; N]) -> Given {
        let Ok(Verdict::Applied(events)) = &self.answer else { panic!("expected events, got {:#?}", self.answer) };
        let kinds = |events: &[Event]| events.iter().map(|event| event.kind().full_name()).collect::<Vec<_>>();
        assert_eq!(kinds(events), kinds(&expected), "other events than expected: {events:#?}");
        for (got, expected) in events.iter().zip(&expected) {
            assert_eq!(got, expected);
        }
        self.applied()
    }

    /// Refused with this code; nothing happens.
    #[track_caller]
    pub fn refused(self, code: &str) -> Given {
        match &self.answer {
            Err(refusal) if refusal.code() == code => self.before,
            other => panic!("expected {code}, got {other:#?}"),
        }
    }

    /// Already so; nothing happens.
    #[track_caller]
    pub fn unchanged(self) -> Given {
        match &self.answer {
            Ok(Verdict::Unchanged) => self.before,
            other => panic!("expected unchanged, got {other:#?}"),
        }
    }

    /// Taken, whatever the events are, which are written down.
    #[track_caller]
    pub fn applied(self) -> Given {
        let Outcome { mut before, by, answer } = self;
        let Ok(Verdict::Applied(events)) = answer else { panic!("expected events, got {answer:#?}") };
        events.iter().for_each(|event| before.write_down(&by, event));
        before
    }

    /// What was decided.
    pub fn verdict(&self) -> &Result<Verdict, Refusal> {
        &self.answer
    }

    /// The code of the refusal, none where there was none.
    pub fn code(&self) -> Option<&'static str> {
        self.answer.as_ref().err().map(Refusal::code)
    }

    /// The refusal itself.
    #[track_caller]
    pub fn refusal(self) -> Refusal {
        self.answer.expect_err("a refusal")
    }
}
