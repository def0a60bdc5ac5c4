//! Ways to log in and to be sure of the server, each against a server that asks for it.

use std::path::Path;

use async_nats::{Client, ConnectOptions};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bare::{Bare, ask, write};
use crate::server::Server;

#[tokio::test]
async fn with_a_credentials_file() {
    let directory = tempfile::tempdir().unwrap();
    let [operator, account, user] = [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user()];
    let token = |issuer: &KeyPair, subject: &KeyPair, kind: &str, more: Value| {
        let mut nats = json!({ "type": kind, "version": 2 });
        nats.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signed(
            issuer,
            json!({ "jti": kind, "iat": 0, "iss": issuer.public_key(), "sub": subject.public_key(), "name": kind, "nats": nats }),
        )
    };
    let unlimited = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1, "wildcards": true });
    let user_limits = json!({ "subs": -1, "data": -1, "payload": -1 });
    let conf = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}\n",
        token(&operator, &operator, "operator", json!({})),
        account.public_key(),
        token(&operator, &account, "account", json!({ "limits": unlimited })),
    );
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(&account, &user, "user", user_limits),
        user.seed().unwrap(),
    );
    let (server, creds) = (serve_with(&directory, &conf).await, write(directory.path(), "service.creds", &creds));
    let options = ConnectOptions::with_credentials_file(&creds).await.unwrap();
    serves(directory, &["--nats", &server.url, "--creds", &creds], &[], || options.clone().connect(&server.url)).await;
}

#[tokio::test]
async fn with_an_nkey() {
    let directory = tempfile::tempdir().unwrap();
    let user = KeyPair::new_user();
    let server =
        serve_with(&directory, &format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", user.public_key())).await;
    let seed = user.seed().unwrap();
    let file = write(directory.path(), "service.nk", &format!("{seed}\n"));
    let connect = || ConnectOptions::with_nkey(seed.clone()).connect(&server.url);
    serves(directory, &["--nats", &server.url, "--nkey", &file], &[], connect).await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_how_to_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let server = serve_with(&directory, "authorization { user: alice, password: secret }\n").await;
    let data = directory.path().join("data").display().to_string();
    for command in [&["serve", "--data", &data][..], &["list"]] {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.args(command).args(["--nats", &server.url]);
        let ran = crate::process::run(program).await;
        assert_eq!((ran.code, ran.err.contains("SWITCHBOARD_PASSWORD")), (Some(1), true), "{}", ran.err);
    }
}

#[tokio::test]
async fn over_tls_to_a_server_whose_certificate_the_system_trusts() {
    let directory = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let certificate = write(directory.path(), "server.pem", &own.cert.pem());
    let key = write(directory.path(), "server.key", &own.signing_key.serialize_pem());
    let conf = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n");
    let server = serve_with(&directory, &conf).await;
    let url = server.url.replace("nats://", "tls://");
    let connect = || ConnectOptions::new().add_root_certificates(certificate.clone().into()).connect(&url);
    // Whoever the system does not trust is not spoken to.
    let wary = Bare::start(tempfile::tempdir().unwrap(), &["--nats", &url], &[("SSL_CERT_FILE", "/dev/null")]);
    wary.said("no connection to NATS yet").await;
    drop(wary);
    serves(directory, &["--nats", &url], &[("SSL_CERT_FILE", &certificate)], connect).await;
}

/// The service is ready, commands are carried out, and it stops well.
async fn serves<C: Future<Output = Result<Client, async_nats::ConnectError>>>(
    directory: TempDir,
    arguments: &[&str],
    environment: &[(&str, &str)],
    connect: impl Fn() -> C,
) {
    let service = Bare::start(directory, arguments, environment);
    service.said(" ready").await;
    let client = connect().await.expect("the server lets its user in");
    assert_eq!(ask(&client, "switchboard.channel.web.start.c").await["conversation"]["owner"], "bot");
    service.stop().await;
}

async fn serve_with(directory: &TempDir, conf: &str) -> Server {
    let path: &Path = directory.path();
    let file = write(path, "nats.conf", conf);
    Server::start_with(path, &["-c", &file], &[]).await
}

/// A JWT as the server's own tools make it.
fn signed(issuer: &KeyPair, claims: Value) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let head = encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(&signature))
}
