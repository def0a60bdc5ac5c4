//! The arguments as they are written: names, help, and which environment variable stands for which.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "switchboard",
    version,
    about = "Who holds a customer's conversation, decided by rules and kept in a log"
)]
#[command(after_help = "Every option also as an environment variable, such as SWITCHBOARD_NATS for --nats. \
                  The NATS user, password and token only so: SWITCHBOARD_USER, _PASSWORD, _TOKEN.\n\
                  Exit codes: 0, 1 for a fault, 2 where an examination found something, 64 for bad usage or configuration.")]
pub struct Cli {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Arguments,
}

/// What is to be done, as written.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Arguments {
    /// Serve conversations over NATS
    Serve(ServeArguments),
    /// Show how a conversation stands, or stood, and what happened to it
    Show(ShowArguments),
    /// List conversations
    List(ListArguments),
    /// Replay recorded events: as they were published, as a timeline, or published elsewhere
    Replay(ReplayArguments),
    /// Overrule who holds control of a conversation
    #[command(subcommand)]
    Operator(OperatorArguments),
    /// Verify every rule, checksum and link of a log; tells the first fault by its place
    Verify(VerifyArguments),
    /// Export a log as text, one entry a line: for copies, for moving, for erasing personal values
    Export(ExportArguments),
    /// Import an export into a new data directory, whole or not at all
    Import(ImportArguments),
    /// List the volumes of a log, or remove old ones once they are exported
    Volumes(VolumesArguments),
    /// Decide the recorded commands again under another configuration: which sessions would have gone otherwise
    #[command(after_help = WHAT_IF_HELP)]
    WhatIf(WhatIfArguments),
    /// Measure how much this machine carries, beside what it could at best
    Bench(BenchArguments),
    /// What bench measures the service beside
    #[command(hide = true)]
    BenchFloor(FloorArguments),
}

const WHAT_IF_HELP: &str = "The configuration stands from the first entry on, and its timers run as if the service had never been away. Below each\n\
    session stands where the two first part, why, and, as uncertain, on what that turns that the log does not hold: what was\n\
    refused, and messages between two notes of activity. \"perhaps\" is an end that rests on such things.\n\n\
    As json: {\"sessions\": [{conversation, channel, session, way, ended, would_end, due, uncertain, first}], summary, fault}.\n\
    way: ended_earlier, ended_later, ended_by_another, not_ended, ended_too (it was still open), not_begun, other_owner,\n\
    other_way. ended, would_end: {at, by, cause} or null. due: when it would end by itself after the log. first: {seq, at,\n\
    latest, by, happened, instead, refused, why, uncertain}; nothing happened at a timer: seq is then the event before.\n\n\
    Exit codes: 0 nothing would differ, 2 something would, or the log is damaged (told), 64 bad usage or configuration, 1 a fault.";

/// Where NATS is, and who asks.
#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct NatsArguments {
    /// NATS servers, with commas between
    #[arg(long, value_name = "URL", env = "SWITCHBOARD_NATS", hide_env_values = true)]
    pub nats: Option<String>,
    /// File of NATS credentials
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CREDS")]
    pub creds: Option<PathBuf>,
    /// File with the seed of an nkey
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_NKEY")]
    pub nkey: Option<PathBuf>,
    /// What the service's subjects begin with [default: switchboard]
    #[arg(long, value_name = "P", env = "SWITCHBOARD_PREFIX")]
    pub prefix: Option<String>,
}

/// Where NATS is, for a program that asks and waits for the answer.
#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct AskArguments {
    #[command(flatten)]
    pub server: NatsArguments,
    /// What the subjects of answers to this program begin with [default: _INBOX, and with a NATS user _INBOX.<user>]
    #[arg(long, value_name = "P", env = "SWITCHBOARD_INBOX_PREFIX")]
    pub inbox_prefix: Option<String>,
}

/// Where the past is read from.
#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct PlaceArguments {
    #[command(flatten)]
    pub nats: AskArguments,
    /// Data directory of a switchboard that does not run, instead of --nats
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ServeArguments {
    #[command(flatten)]
    pub nats: NatsArguments,
    /// First token of subjects that answers may go to
    #[arg(long, value_name = "P", env = "SWITCHBOARD_REPLY_PREFIX")]
    pub reply_prefix: Option<String>,
    /// Data directory, made where it is not there
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address for /healthz, /readyz and /metrics, such as 127.0.0.1:8080
    #[arg(long, value_name = "ADDR", env = "SWITCHBOARD_HTTP")]
    pub http: Option<String>,
    /// What carries the events: core, which is NATS itself, or jetstream, which keeps them for who is away [default: core]
    #[arg(long, value_name = "core|jetstream", env = "SWITCHBOARD_EVENTS")]
    pub events: Option<String>,
    /// How many commands may wait [default: 16384]
    #[arg(long, value_name = "N", env = "SWITCHBOARD_QUEUE")]
    pub queue: Option<String>,
    /// Form of diagnostics: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_LOG_FORMAT")]
    pub log_format: Option<String>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ShowArguments {
    /// Which conversation
    #[arg(value_name = "CONVERSATION", env = "SWITCHBOARD_CONVERSATION")]
    pub conversation: String,
    /// As it was after the last whole decision then
    #[arg(long, value_name = "SEQ|TIME", env = "SWITCHBOARD_AT")]
    pub at: Option<String>,
    /// For people or for programs: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ListArguments {
    /// Only in these states: open, ending, closed, with commas between
    #[arg(long, value_name = "S", env = "SWITCHBOARD_STATUS")]
    pub status: Vec<String>,
    /// Only those that this integration holds
    #[arg(long, value_name = "X", env = "SWITCHBOARD_OWNER")]
    pub owner: Option<String>,
    /// Only those that nobody holds
    #[arg(long, env = "SWITCHBOARD_UNOWNED", value_parser = clap::builder::FalseyValueParser::new())]
    pub unowned: bool,
    /// Only those that are offered to this integration
    #[arg(long, value_name = "X", env = "SWITCHBOARD_OFFERED_TO")]
    pub offered_to: Option<String>,
    /// Only those of this channel
    #[arg(long, value_name = "X", env = "SWITCHBOARD_CHANNEL")]
    pub channel: Option<String>,
    /// Only those that have waited so long for their end, such as 10m
    #[arg(long, value_name = "DURATION", env = "SWITCHBOARD_WAITING")]
    pub waiting: Option<String>,
    /// Only those without activity for so long
    #[arg(long, value_name = "DURATION", env = "SWITCHBOARD_IDLE")]
    pub idle: Option<String>,
    /// For people or for programs: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ReplayArguments {
    /// The first event
    #[arg(long, value_name = "SEQ|TIME", env = "SWITCHBOARD_FROM")]
    pub from: Option<String>,
    /// The last event
    #[arg(long, value_name = "SEQ|TIME", env = "SWITCHBOARD_TO")]
    pub to: Option<String>,
    /// Only events of this conversation, or _config for those of the configuration
    #[arg(long, value_name = "ID", env = "SWITCHBOARD_CONVERSATION")]
    pub conversation: Option<String>,
    /// Only events of this type, such as control.passed; several with commas between
    #[arg(long = "type", value_name = "T", env = "SWITCHBOARD_TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// As published, one a line, or in words: ndjson or timeline [default: ndjson]
    #[arg(long, value_name = "ndjson|timeline", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
    /// Publish each event on NATS below PREFIX.event instead
    #[arg(long, value_name = "PREFIX", env = "SWITCHBOARD_PUBLISH")]
    pub publish: Option<String>,
    /// As fast as it happened (1), so many times as fast, or max [default: max]
    #[arg(long, value_name = "N|max", env = "SWITCHBOARD_SPEED")]
    pub speed: Option<String>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct VerifyArguments {
    /// A file that holds an export, instead of --data
    #[arg(value_name = "FILE", env = "SWITCHBOARD_FILE")]
    pub file: Option<PathBuf>,
    /// Data directory of a switchboard that does not run
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ExportArguments {
    /// Leave out the personal values (user, metadata, reason) of this conversation; several with commas between
    #[arg(long, value_name = "CONVERSATION", env = "SWITCHBOARD_REDACT", value_delimiter = ',')]
    pub redact: Vec<String>,
    /// Name of the operator who asks a running switchboard [default: the NATS user, the user of this system, or operator]
    #[arg(long = "as", value_name = "NAME", env = "SWITCHBOARD_AS")]
    pub operator: Option<String>,
    #[command(flatten)]
    pub place: PlaceArguments,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct ImportArguments {
    /// Data directory to be made: empty, or not there
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
    /// Publish events from this one on at the next start [default: all count as published]
    #[arg(long, value_name = "SEQ", env = "SWITCHBOARD_PUBLISH_FROM")]
    pub publish_from: Option<String>,
    /// Take an export without its end too, up to its last whole line: what was saved of a damaged log
    #[arg(long, env = "SWITCHBOARD_CUT", value_parser = clap::builder::FalseyValueParser::new())]
    pub cut: bool,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct VolumesArguments {
    /// Data directory of a switchboard that does not run
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA", global = true)]
    pub data: Option<PathBuf>,
    #[command(subcommand)]
    pub what: VolumesWhat,
}

/// What is to be done with volumes, as written.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum VolumesWhat {
    /// Tell what each volume holds, and what it takes on the disk
    List(VolumesListArguments),
    /// Remove old volumes: what everything was at their end is kept, their events only in the export
    Remove(VolumesRemoveArguments),
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct VolumesListArguments {
    /// For people or for programs: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct VolumesRemoveArguments {
    /// The last volume that is removed
    #[arg(long, value_name = "N", env = "SWITCHBOARD_THROUGH")]
    pub through: Option<String>,
    /// Remove the volumes that end before that time instead
    #[arg(long, value_name = "TIME", env = "SWITCHBOARD_BEFORE")]
    pub before: Option<String>,
    /// File to be made, that holds what is removed
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_EXPORT")]
    pub export: Option<PathBuf>,
    /// Keep no copy of what is removed
    #[arg(long, env = "SWITCHBOARD_WITHOUT_EXPORT", value_parser = clap::builder::FalseyValueParser::new())]
    pub without_export: bool,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct WhatIfArguments {
    /// The other configuration, as a file
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Data directory of a switchboard that does not run
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
    /// For people or for programs: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct BenchArguments {
    #[command(flatten)]
    pub nats: NatsArguments,
    /// The program that is started as a NATS server where --nats names none, and for synced streams [default: nats-server]
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_NATS_SERVER")]
    pub nats_server: Option<PathBuf>,
    /// Directory on the disk to be measured; what is made there is removed again [default: that of temporary files]
    #[arg(long, value_name = "DIR", env = "SWITCHBOARD_DATA")]
    pub data: Option<PathBuf>,
    /// Commands under way at once; several with commas between [default: 1,64,1024,8192]
    #[arg(long, value_name = "N,…", env = "SWITCHBOARD_IN_FLIGHT", value_delimiter = ',')]
    pub in_flight: Vec<String>,
    /// Commands begun a second, whatever is answered; several with commas between
    #[arg(long, value_name = "N,…", env = "SWITCHBOARD_RATE", value_delimiter = ',')]
    pub rate: Vec<String>,
    /// Conversations that are open at once [default: 10000]
    #[arg(long, value_name = "N", env = "SWITCHBOARD_CONVERSATIONS")]
    pub conversations: Option<String>,
    /// Fill the log before the first round with about so many events, of conversations most of which are closed; they take
    /// some 200 bytes each, on the disk of --data DIR
    #[arg(long, value_name = "EVENTS", env = "SWITCHBOARD_AGED")]
    pub aged: Option<String>,
    /// Conversations that the aged log leaves open [default: as many as --conversations, one for 20 events at most]
    #[arg(long, value_name = "N", env = "SWITCHBOARD_OPEN")]
    pub open: Option<String>,
    /// How long a round is [default: 3s]
    #[arg(long, value_name = "DURATION", env = "SWITCHBOARD_ROUND")]
    pub round: Option<String>,
    /// How many rounds there are for each figure [default: 3]
    #[arg(long, value_name = "N", env = "SWITCHBOARD_ROUNDS")]
    pub rounds: Option<String>,
    /// What to measure beside the service: floor, jetstream, jetstream-always, none; several with commas between [default: all]
    #[arg(long, value_name = "WHAT,…", env = "SWITCHBOARD_BESIDE", value_delimiter = ',')]
    pub beside: Vec<String>,
    /// Send commands without ids
    #[arg(long, env = "SWITCHBOARD_WITHOUT_IDS", value_parser = clap::builder::FalseyValueParser::new())]
    pub without_ids: bool,
    /// What carries the events of the service: core or jetstream [default: core]
    #[arg(long, value_name = "core|jetstream", env = "SWITCHBOARD_EVENTS")]
    pub events: Option<String>,
    /// For people or for programs: text or json [default: text]
    #[arg(long, value_name = "text|json", env = "SWITCHBOARD_FORMAT")]
    pub format: Option<String>,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct FloorArguments {
    #[command(flatten)]
    pub nats: NatsArguments,
    #[arg(long)]
    pub pattern: PathBuf,
}

/// What an operator can ask for, as written.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum OperatorArguments {
    /// Give control to an integration, whoever holds it
    Pass(PassArguments),
    /// Take control from whoever holds it
    Release(OverruleArguments),
    /// End the session now
    End(OverruleArguments),
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct PassArguments {
    /// The integration that is to hold control
    #[arg(long, value_name = "X", env = "SWITCHBOARD_TO")]
    pub to: Option<String>,
    #[command(flatten)]
    pub common: OverruleArguments,
}

#[derive(Debug, Args)]
#[allow(missing_docs)]
pub struct OverruleArguments {
    /// Which conversation
    #[arg(value_name = "CONVERSATION", env = "SWITCHBOARD_CONVERSATION")]
    pub conversation: String,
    /// Why, recorded with it
    #[arg(long, value_name = "TEXT", env = "SWITCHBOARD_REASON")]
    pub reason: Option<String>,
    /// Name of the operator [default: the NATS user, the user of this system, or operator]
    #[arg(long = "as", value_name = "NAME", env = "SWITCHBOARD_AS")]
    pub operator: Option<String>,
    /// The person behind it [default: the user of this system]
    #[arg(long, value_name = "TEXT", env = "SWITCHBOARD_ACTOR")]
    pub actor: Option<String>,
    #[command(flatten)]
    pub nats: AskArguments,
}
