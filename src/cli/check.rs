//! From what was written to what is to be done; every fault is collected before any is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::arguments::{
    Arguments, AskArguments, ExportArguments, ImportArguments, ListArguments, NatsArguments, OperatorArguments,
    OverruleArguments, PlaceArguments, ReplayArguments, ServeArguments, ShowArguments, VerifyArguments,
    WhatIfArguments,
};
use super::{Command, ServeOptions};
use crate::domain::Name;
use crate::domain::words::CONFIG_ID;
use crate::edge::subjects::may_answer;
use crate::edge::{Events, login};
use crate::tools::backup::Service;
use crate::tools::bench::floor::FloorOptions;
use crate::tools::config_file::ConfigFile;
use crate::tools::export::{ExportOptions, Origin};
use crate::tools::import::ImportOptions;
use crate::tools::list::ListOptions;
use crate::tools::nats::{Access, Login};
use crate::tools::operator::{OperatorOptions, Verb};
use crate::tools::replay::{Output, ReplayOptions, Scope, overlap};
use crate::tools::show::ShowOptions;
use crate::tools::source::Place;
use crate::tools::values;
use crate::tools::verify::VerifyOptions;
use crate::tools::what_if::WhatIfOptions;

/// Commands that may wait where nothing else is said.
const QUEUE_DEFAULT: usize = 16_384;
/// Most commands that may be let wait: a million take gigabytes.
const QUEUE_MAX: usize = 1_000_000;
/// Longest actor that a command may carry, in bytes.
const ACTOR_BYTES_MAX: usize = 128;

/// How long an export waits for the service to come back: a restart with a long log takes seconds.
const RESTART_PATIENCE: Duration = Duration::from_secs(60);

const SERVER_MISSING: &str = "--nats: expected the URL of a NATS server, such as nats://localhost:4222, got none";

/// Checks a command's arguments; all that is wrong with them, where something is. `faults` were found before: for each
/// empty value there is one.
pub fn command(
    arguments: Arguments,
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
) -> Result<Command, Vec<String>> {
    let mut check = Check { matches, environment, faults };
    let command = match arguments {
        Arguments::Serve(arguments) => check.serve(&arguments).map(|options| Command::Serve(Box::new(options))),
        Arguments::Show(arguments) => check.show(&arguments).map(Command::Show),
        Arguments::List(arguments) => check.list(&arguments).map(Command::List),
        Arguments::Replay(arguments) => check.replay(&arguments).map(Command::Replay),
        Arguments::Operator(arguments) => check.operator(&arguments).map(Command::Operator),
        Arguments::Verify(arguments) => check.verify(&arguments),
        Arguments::Volumes(arguments) => check.volumes(&arguments).map(Command::Volumes),
        Arguments::Export(arguments) => check.export(&arguments).map(Command::Export),
        Arguments::Import(arguments) => check.import(&arguments).map(Command::Import),
        Arguments::WhatIf(arguments) => check.what_if(&arguments).map(Command::WhatIf),
        Arguments::Bench(arguments) => check.bench(&arguments).map(|options| Command::Bench(Box::new(options))),
        Arguments::BenchFloor(arguments) => {
            let access = check.access(&arguments.nats, None);
            access.map(|access| Command::BenchFloor(FloorOptions { access, pattern: arguments.pattern }))
        }
    };
    command.filter(|_| check.faults.is_empty()).ok_or(check.faults)
}

/// Collects faults while it reads. What cannot be read is none, and never used: a fault was noted.
pub(super) struct Check<'a> {
    pub(super) matches: &'a ArgMatches,
    environment: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<String>,
}

impl Check<'_> {
    fn serve(&mut self, arguments: &ServeArguments) -> Option<ServeOptions> {
        let access = self.access(&arguments.nats, None);
        if arguments.nats.nats.is_none() {
            self.fault(SERVER_MISSING);
        }
        if arguments.data.is_none() {
            self.fault("--data: expected the directory that the log is kept in, got none");
        }
        let reply_prefix = self.value("--reply-prefix", &arguments.reply_prefix, reply_prefix);
        if let Some(reply_prefix) = &reply_prefix {
            self.apart(reply_prefix, &arguments.nats.prefix);
        }
        let http = self.value("--http", &arguments.http, |text| {
            text.parse().map_err(|_| format!("expected an address such as 127.0.0.1:8080, got {text:?}"))
        });
        let events = self.value("--events", &arguments.events, events).unwrap_or_default();
        let queue = self.value("--queue", &arguments.queue, queue).unwrap_or(QUEUE_DEFAULT);
        let log_format = self.value("--log-format", &arguments.log_format, values::text_or_json).unwrap_or_default();
        let config = self.config(&arguments.config);
        Some(ServeOptions {
            access: access?,
            reply_prefix: reply_prefix.unwrap_or_else(|| "_INBOX".into()),
            data: arguments.data.clone()?,
            config,
            http,
            events,
            queue,
            log_format,
        })
    }

    /// A fault where answers could go to the service's own subjects; whatever else is wrong with how NATS is reached.
    fn apart(&mut self, reply_prefix: &str, prefix: &Option<String>) {
        let prefix = prefix.as_deref().filter(|prefix| !prefix.is_empty()).unwrap_or("switchboard");
        if values::prefix(prefix).is_ok() && may_answer(reply_prefix, &format!("{prefix}.event")) {
            self.fault(&format!(
                "--reply-prefix: expected one that the service's own prefix ({prefix}) does not begin with, got {reply_prefix}: \
                 callers could have answers published as events"
            ));
        }
    }

    fn show(&mut self, arguments: &ShowArguments) -> Option<ShowOptions> {
        let id = self.value("CONVERSATION", &Some(arguments.conversation.clone()), values::conversation);
        let at = self.value("--at", &arguments.at, values::moment);
        let format = self.value("--format", &arguments.format, values::text_or_json).unwrap_or_default();
        let place = self.place(&arguments.place, false);
        Some(ShowOptions { place: place?, id: id?, at, format })
    }

    fn list(&mut self, arguments: &ListArguments) -> Option<ListOptions> {
        let status = self.values("--status", &arguments.status, values::statuses).concat();
        let owner = self.value("--owner", &arguments.owner, values::name);
        let offered_to = self.value("--offered-to", &arguments.offered_to, values::name);
        let channel = self.value("--channel", &arguments.channel, values::name);
        let waiting_ms = self.value("--waiting", &arguments.waiting, values::span_ms);
        let idle_ms = self.value("--idle", &arguments.idle, values::span_ms);
        let format = self.value("--format", &arguments.format, values::text_or_json).unwrap_or_default();
        if arguments.unowned && owner.is_some() {
            self.fault("--owner and --unowned exclude each other: give one of them");
        }
        let owner = if arguments.unowned { Some(None) } else { owner.map(Some) };
        let place = self.place(&arguments.place, false)?;
        Some(ListOptions { place, status, owner, offered_to, channel, waiting_ms, idle_ms, format })
    }

    fn replay(&mut self, arguments: &ReplayArguments) -> Option<ReplayOptions> {
        let from = self.value("--from", &arguments.from, values::moment);
        let to = self.value("--to", &arguments.to, values::moment);
        let scope = self.value("--conversation", &arguments.conversation, scope).unwrap_or(Scope::Everything);
        let types = self.values("--type", &arguments.types, values::event_type);
        let speed = self.value("--speed", &arguments.speed, values::speed).unwrap_or_default();
        let place = self.place(&arguments.place, arguments.publish.is_some());
        let output = self.output(arguments);
        Some(ReplayOptions { place: place?, from, to, scope, types, output: output?, speed })
    }

    fn export(&mut self, arguments: &ExportArguments) -> Option<ExportOptions> {
        let redact = self.values("--redact", &arguments.redact, values::conversation);
        let origin = match self.place(&arguments.place, false)? {
            Place::Directory(data) => Origin::Directory(data),
            Place::Nats(access) => {
                let operator = self.operator_name(&arguments.operator, Some(&access))?;
                Origin::Service(Service { access, operator, patience: RESTART_PATIENCE })
            }
        };
        Some(ExportOptions { origin, redact })
    }

    fn import(&mut self, arguments: &ImportArguments) -> Option<ImportOptions> {
        let publish_from = self.value("--publish-from", &arguments.publish_from, seq);
        Some(ImportOptions { data: self.directory(&arguments.data)?, publish_from, cut: arguments.cut })
    }

    fn what_if(&mut self, arguments: &WhatIfArguments) -> Option<WhatIfOptions> {
        let format = self.value("--format", &arguments.format, values::text_or_json).unwrap_or_default();
        let data = self.directory(&arguments.data);
        if arguments.config.is_none() {
            self.fault("--config: expected the file of another configuration, got none");
            return None;
        }
        Some(WhatIfOptions { config: self.config(&arguments.config)?, data: data?, format })
    }

    fn config(&mut self, path: &Option<PathBuf>) -> Option<ConfigFile> {
        match ConfigFile::read(path.as_ref().filter(|path| !path.as_os_str().is_empty())?) {
            Ok(file) => Some(file),
            Err(faults) => {
                self.faults.extend(faults);
                None
            }
        }
    }

    fn verify(&mut self, arguments: &VerifyArguments) -> Option<Command> {
        match &arguments.file {
            Some(_) if self.is_written("data") && self.is_written("file") => {
                self.fault("FILE and --data exclude each other: give one of them");
                None
            }
            Some(file) if !self.is_written("data") => Some(Command::VerifyFile(file.clone())),
            _ => self.directory(&arguments.data).map(|data| Command::Verify(VerifyOptions { data })),
        }
    }

    pub(super) fn directory(&mut self, data: &Option<PathBuf>) -> Option<PathBuf> {
        if data.is_none() {
            self.fault("--data: expected a data directory, got none");
        }
        data.clone()
    }

    fn output(&mut self, arguments: &ReplayArguments) -> Option<Output> {
        let format = self.value("--format", &arguments.format, |text| match text {
            "ndjson" => Ok(Output::Ndjson),
            "timeline" => Ok(Output::Timeline),
            _ => Err(format!("expected ndjson or timeline, got {text:?}")),
        });
        if arguments.publish.is_none() {
            return Some(format.unwrap_or(Output::Ndjson));
        }
        if self.is_written("format") {
            self.fault("--publish and --format exclude each other: give one of them");
        }
        let nats = &arguments.place.nats;
        if nats.server.nats.is_none() && arguments.place.data.is_some() {
            self.fault("--publish: expected --nats URL too, the server to publish on, got none");
        }
        let prefix = self.value("--publish", &arguments.publish, values::prefix)?;
        let access = self.asking(nats)?;
        if overlap(&prefix, &access.prefix) {
            self.fault(&format!(
                "--publish: expected a prefix apart from the service's own ({}), got {prefix}: old events would pass for news",
                access.prefix
            ));
        }
        Some(Output::Publish { access, prefix })
    }

    fn operator(&mut self, arguments: &OperatorArguments) -> Option<OperatorOptions> {
        self.matches = self.matches.subcommand().map_or(self.matches, |(_, matches)| matches);
        let (common, verb) = match arguments {
            OperatorArguments::Pass(pass) => {
                if pass.to.is_none() {
                    self.fault("--to: expected the integration that is to hold control, got none");
                }
                (&pass.common, self.value("--to", &pass.to, values::name).map(|to| Verb::Pass { to }))
            }
            OperatorArguments::Release(common) => (common, Some(Verb::Release)),
            OperatorArguments::End(common) => (common, Some(Verb::End)),
        };
        self.overrule(common, verb)
    }

    fn overrule(&mut self, arguments: &OverruleArguments, verb: Option<Verb>) -> Option<OperatorOptions> {
        if arguments.nats.server.nats.is_none() {
            self.fault(SERVER_MISSING);
        }
        let access = self.asking(&arguments.nats);
        let id = self.value("CONVERSATION", &Some(arguments.conversation.clone()), values::conversation);
        let operator = self.operator_name(&arguments.operator, access.as_ref());
        let actor = arguments.actor.clone().or(self.user());
        if actor.as_ref().is_some_and(|actor| actor.len() > ACTOR_BYTES_MAX) {
            self.fault(&format!("--actor: expected at most {ACTOR_BYTES_MAX} bytes, got more"));
        }
        let reason = arguments.reason.clone();
        Some(OperatorOptions { access: access?, operator: operator?, actor, verb: verb?, id: id?, reason })
    }

    /// Under which name an operator asks. The server's permissions tie a NATS user to the operator of its name.
    fn operator_name(&mut self, name: &Option<String>, access: Option<&Access>) -> Option<Name> {
        if name.is_some() {
            return self.value("--as", name, values::name);
        }
        let login = match access.map(|access| &access.login) {
            Some(Login::Password { user, .. }) => Some(user.clone()),
            _ => self.user(),
        };
        login.and_then(|login| Name::parse(&login).ok()).or_else(|| Name::parse("operator").ok())
    }

    /// The user of this system.
    fn user(&self) -> Option<String> {
        ["USER", "LOGNAME"].into_iter().find_map(|name| self.set(name))
    }

    /// Where to read from: of two places the one on the command line, and of two in the environment, where
    /// they stand for the service, the one that can be asked while it runs.
    fn place(&mut self, arguments: &PlaceArguments, both_allowed: bool) -> Option<Place> {
        let directory = arguments.data.clone().map(Place::Directory);
        match (arguments.nats.server.nats.is_some(), directory) {
            (false, None) => {
                self.fault("expected --nats URL, of a running switchboard, or --data DIR, of one that does not run, got neither");
                self.asking(&arguments.nats);
                None
            }
            (false, directory) => directory,
            (true, None) => self.asking(&arguments.nats).map(Place::Nats),
            (true, directory) => match (self.is_written("nats"), self.is_written("data")) {
                (true, true) if !both_allowed => {
                    self.fault("--nats and --data exclude each other: give one of them");
                    None
                }
                (_, true) => directory,
                (_, false) => self.asking(&arguments.nats).map(Place::Nats),
            },
        }
    }

    fn asking(&mut self, arguments: &AskArguments) -> Option<Access> {
        let inbox_prefix = self.value("--inbox-prefix", &arguments.inbox_prefix, values::inbox_prefix);
        self.access(&arguments.server, inbox_prefix)
    }

    pub(super) fn access(&mut self, arguments: &NatsArguments, inbox_prefix: Option<String>) -> Option<Access> {
        let servers = self.value("--nats", &arguments.nats, values::servers);
        let prefix = self.value("--prefix", &arguments.prefix, values::prefix);
        let login = self.login(arguments);
        let own_inbox = match &login {
            Some(Login::Password { user, .. }) if Name::parse(user).is_ok() => format!("_INBOX.{user}"),
            _ => "_INBOX".into(),
        };
        Some(Access {
            servers: servers?,
            login: login?,
            prefix: prefix.unwrap_or_else(|| "switchboard".into()),
            inbox_prefix: inbox_prefix.unwrap_or(own_inbox),
        })
    }

    fn login(&mut self, arguments: &NatsArguments) -> Option<Login> {
        // Under the longer names too, which say whose user it is.
        let [user, password, token] = ["USER", "PASSWORD", "TOKEN"].map(|what| {
            self.set(&format!("SWITCHBOARD_{what}")).or_else(|| self.set(&format!("SWITCHBOARD_NATS_{what}")))
        });
        // Whoever starts the service again and again cannot mend that.
        let creds = arguments.creds.as_deref().and_then(login::creds_fault).map(|why| format!("--creds: {why}"));
        let nkey = arguments.nkey.as_deref().and_then(login::nkey_fault).map(|why| format!("--nkey: {why}"));
        creds.into_iter().chain(nkey).for_each(|fault| self.fault(&fault));
        let mut logins = Vec::new();
        logins.extend(arguments.creds.clone().map(|path| ("--creds", Login::Creds(path))));
        logins.extend(arguments.nkey.clone().map(|path| ("--nkey", Login::Nkey(path))));
        logins.extend(token.map(|token| ("SWITCHBOARD_TOKEN", Login::Token(token))));
        match (user, password) {
            (Some(user), Some(password)) => logins.push(("SWITCHBOARD_USER", Login::Password { user, password })),
            (None, None) => {}
            (Some(_), None) => {
                self.fault("SWITCHBOARD_PASSWORD: expected a password beside SWITCHBOARD_USER, got none")
            }
            (None, Some(_)) => self.fault("SWITCHBOARD_USER: expected a user beside SWITCHBOARD_PASSWORD, got none"),
        }
        if logins.len() > 1 {
            let names: Vec<&str> = logins.iter().map(|(name, _)| *name).collect();
            self.fault(&format!("expected one way to log in to NATS, got {}: leave one", names.join(" and ")));
        }
        Some(logins.pop().map_or(Login::None, |(_, login)| login))
    }

    pub(super) fn value<T>(
        &mut self,
        name: &str,
        text: &Option<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(text.as_deref().filter(|text| !text.is_empty())?) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fault(&format!("{name}: {fault}"));
                None
            }
        }
    }

    pub(super) fn values<T>(&mut self, name: &str, texts: &[String], read: fn(&str) -> Result<T, String>) -> Vec<T> {
        texts.iter().filter_map(|text| self.value(name, &Some(text.clone()), read)).collect()
    }

    /// The same fault is told once, however many options rest on what is wrong.
    pub(super) fn fault(&mut self, text: &str) {
        if !self.faults.iter().any(|fault| fault == text) {
            self.faults.push(text.to_owned());
        }
    }

    /// Whether it stands on the command line, and not in the environment alone.
    pub(super) fn is_written(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn set(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.is_empty())
    }
}

fn reply_prefix(text: &str) -> Result<String, String> {
    let is_token = !text.contains('.') && values::inbox_prefix(text).is_ok();
    is_token.then(|| text.to_owned()).ok_or_else(|| format!("expected one token such as _INBOX, got {text:?}"))
}

pub(super) fn events(text: &str) -> Result<Events, String> {
    match text {
        "core" => Ok(Events::Core),
        "jetstream" => Ok(Events::JetStream),
        _ => Err(format!("expected core or jetstream, got {text:?}")),
    }
}

fn queue(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=QUEUE_MAX).contains(count));
    count.ok_or_else(|| format!("expected a whole number from 1 to {QUEUE_MAX}, got {text:?}"))
}

fn seq(text: &str) -> Result<u64, String> {
    let seq = text.parse().ok().filter(|seq| *seq > 0);
    seq.ok_or_else(|| format!("expected the seq of an event, a whole number from 1 on, got {text:?}"))
}

fn scope(text: &str) -> Result<Scope, String> {
    if text == CONFIG_ID { Ok(Scope::Config) } else { values::conversation(text).map(Scope::Conversation) }
}
