//! The shipped server configuration: who a caller is, is who the server lets it be.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::process::{exit, run, signal};
use crate::server::Server;

#[tokio::test]
async fn under_the_shipped_permissions_everybody_speaks_and_hears_for_itself_only() {
    let directory = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let conf = deploy.join("nats.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let passwords: Vec<&str> =
        text.split('$').filter_map(|rest| rest.split_once("_PASSWORD")).map(|(name, _)| name).collect();
    let passwords: Vec<String> = passwords.iter().map(|name| format!("{name}_PASSWORD")).collect();
    let environment: Vec<(&str, &str)> = passwords.iter().map(|name| (name.as_str(), "secret")).collect();
    let server = Server::start_with(directory.path(), &["-c", conf.to_str().unwrap()], &environment).await;
    let mut serve = program("switchboard", &server);
    serve
        .arg("serve")
        .arg("--data")
        .arg(directory.path().join("data"))
        .arg("--config")
        .arg(deploy.join("switchboard.toml"));
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut service = serve.stderr(log).stdout(Stdio::null()).spawn().unwrap();

    let [web, bot, observer] =
        [connect(&server, "web").await, connect(&server, "faq-bot").await, connect(&server, "observer").await];
    let mut inbox = bot.subscribe("switchboard.inbox.integration.faq-bot.>").await.unwrap();
    let mut events = observer.subscribe("switchboard.event.c.>").await.unwrap();
    bot.flush().await.unwrap();
    observer.flush().await.unwrap();
    let mut answer = None;
    for _ in 0..200 {
        answer = ask(&web, "switchboard.channel.web.start.c").await;
        if answer.is_some() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let answer = answer.unwrap_or_else(|| panic!("{}", std::fs::read_to_string(directory.path().join("log")).unwrap()));
    assert_eq!(answer["conversation"]["owner"], "faq-bot", "{answer}");
    assert!(
        timeout(Duration::from_secs(5), inbox.next()).await.is_ok()
            && timeout(Duration::from_secs(5), events.next()).await.is_ok()
    );
    // Nobody speaks for another, forges an event, or asks what it may not.
    for (client, subject) in [
        (&web, "switchboard.channel.whatsapp.start.d"),
        (&web, "switchboard.query.log"),
        (&bot, "switchboard.integration.agents.take.c"),
        (&bot, "switchboard.operator.alice.end.c"),
        (&observer, "switchboard.operator.alice.end.c"),
        (&observer, "switchboard.event.c.control.passed"),
    ] {
        assert!(ask(client, subject).await.is_none(), "{subject}");
    }
    let listed = run_well(&server, "observer", &["list"]).await;
    assert!(listed.contains("faq-bot"), "{listed}");
    run_well(&server, "alice", &["operator", "end", "c", "--as", "alice"]).await;
    assert_eq!(ask(&web, "switchboard.channel.web.state.c").await.unwrap()["conversation"]["status"], "closed");
    signal(service.id(), "TERM");
    assert_eq!(exit(&mut service).await.code(), Some(0));
    let said = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!said.contains("ermissions"), "the service lacks a permission:\n{said}");
}

fn program(user: &str, server: &Server) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    program.env("SWITCHBOARD_NATS", &server.url).env("SWITCHBOARD_USER", user).env("SWITCHBOARD_PASSWORD", "secret");
    program
}

async fn run_well(server: &Server, user: &str, arguments: &[&str]) -> String {
    let mut program = program(user, server);
    program.args(arguments);
    run(program).await.well()
}

async fn connect(server: &Server, user: &str) -> Client {
    let options = ConnectOptions::new().user_and_password(user.into(), "secret".into());
    let options = options.custom_inbox_prefix(format!("_INBOX.{user}"));
    options.request_timeout(Some(Duration::from_millis(500))).connect(&server.url).await.expect("the server lets it in")
}

async fn ask(client: &Client, subject: &str) -> Option<Value> {
    let answer = client.request(subject.to_owned(), "".into()).await.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}
