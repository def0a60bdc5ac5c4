//! Health and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::json;
use tokio::net::TcpListener;

use super::EdgeError;
use super::streams::Health;
use crate::switchboard::Gauges;

/// Why the service is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has not served yet.
    Starting,
    /// There is no connection to NATS, or what was recorded is still being published on a new one.
    NotConnected,
    /// Another instance serves the same prefix: two logs would be written, so nothing is decided.
    Duplicate,
    /// It takes no more requests.
    Stopping,
}

impl Reason {
    const ALL: [Reason; 4] = [Reason::Starting, Reason::NotConnected, Reason::Duplicate, Reason::Stopping];

    fn text(self) -> &'static str {
        match self {
            Reason::Starting => "starting",
            Reason::NotConnected => "not connected to NATS",
            Reason::Duplicate => {
                "another instance serves the same prefix, and commands are answered busy: stop one of them"
            }
            Reason::Stopping => "stopping",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What keeps the service from being ready, beside what the gauges show.
#[derive(Debug)]
pub struct Readiness(AtomicU8);

impl Readiness {
    /// Of a service that has just been started.
    pub fn new() -> Readiness {
        Readiness(AtomicU8::new(Reason::Starting.bit() | Reason::NotConnected.bit()))
    }

    /// Notes whether `reason` holds; says whether that is new.
    pub fn set(&self, reason: Reason, holds: bool) -> bool {
        let before = match holds {
            true => self.0.fetch_or(reason.bit(), Relaxed),
            false => self.0.fetch_and(!reason.bit(), Relaxed),
        };
        (before & reason.bit() != 0) != holds
    }

    /// Whether `reason` holds.
    pub fn holds(&self, reason: Reason) -> bool {
        self.0.load(Relaxed) & reason.bit() != 0
    }

    /// Whether nothing of this keeps it from being ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    /// All that keeps it from being ready.
    pub fn reasons(&self, gauges: &Gauges) -> Vec<&'static str> {
        let held = self.0.load(Relaxed);
        let mut reasons: Vec<&str> =
            Reason::ALL.iter().filter(|reason| held & reason.bit() != 0).map(|reason| reason.text()).collect();
        if gauges.log_failed.load(Relaxed) {
            reasons.push("the log could not be written: restart");
        }
        if gauges.storage_full.load(Relaxed) {
            reasons.push("no room on the disk: nothing is recorded until there is some");
        }
        reasons
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Readiness::new()
    }
}

/// What the pages show.
#[derive(Clone)]
pub struct Shown {
    /// The switchboard's figures.
    pub gauges: Arc<Gauges>,
    /// What keeps the service from being ready.
    pub readiness: Arc<Readiness>,
    /// What the streams show, with JetStream.
    pub streams: Option<Arc<Health>>,
}

/// Collects what is counted from now on; must come before the first counter.
pub fn install_metrics() -> Result<PrometheusHandle, EdgeError> {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = INSTALLED.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().install_recorder().map_err(|error| EdgeError::Metrics(error.to_string()))?;
    Ok(INSTALLED.get_or_init(|| handle).clone())
}

/// Takes the address, so that a wrong one is told at once.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, EdgeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| EdgeError::Http { address, source })?;
    // Of port 0 the system chooses one.
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "health and metrics are served");
    Ok(listener)
}

/// Serves the pages until it is dropped.
pub async fn serve(listener: TcpListener, metrics: PrometheusHandle, shown: Shown) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(move |state| metrics_page(metrics.clone(), state)))
        .with_state(shown);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

async fn readyz(State(shown): State<Shown>) -> impl IntoResponse {
    let reasons = shown.readiness.reasons(&shown.gauges);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body =
        json!({ "ready": reasons.is_empty(), "reasons": reasons, "publication": publication(&shown.gauges) });
    if let Some(streams) = &shown.streams {
        let (in_step, trouble) = streams.look();
        body["streams"] = json!({ "in_step": in_step, "trouble": trouble });
    }
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}

/// How far publication got. Being behind does not keep the service from being ready: commands go on.
fn publication(gauges: &Gauges) -> serde_json::Value {
    let (durable, published) = (gauges.durable_through.load(Relaxed), gauges.published_through.load(Relaxed));
    json!({ "durable_seq": durable, "published_seq": published, "lag_events": durable.saturating_sub(published) })
}

async fn metrics_page(metrics: PrometheusHandle, State(shown): State<Shown>) -> impl IntoResponse {
    show_gauges(&shown);
    metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

fn show_gauges(shown: &Shown) {
    let Shown { gauges, readiness, streams } = shown;
    if let Some(streams) = streams {
        metrics::describe_gauge!(
            "switchboard_streams_in_step",
            "Whether the streams hold what is published as it is published"
        );
        gauge!("switchboard_streams_in_step").set(f64::from(u8::from(streams.look().0)));
    }
    let (durable, published) = (gauges.durable_through.load(Relaxed), gauges.published_through.load(Relaxed));
    let open = gauges.open.load(Relaxed);
    let ending = gauges.ending.load(Relaxed);
    for (name, what, value) in [
        ("switchboard_ready", "Whether the service is ready", u64::from(readiness.reasons(gauges).is_empty())),
        ("switchboard_open_conversations", "Conversations that are open or ending", open),
        ("switchboard_ending_conversations", "Conversations that are ending", ending),
        ("switchboard_queued_requests", "Requests that wait to be decided", gauges.queued.load(Relaxed)),
        ("switchboard_durable_seq", "The last event on stable storage", durable),
        ("switchboard_published_seq", "The last event known to be published", published),
        (
            "switchboard_publication_lag_events",
            "Events recorded and not known to be published",
            durable.saturating_sub(published),
        ),
        (
            "switchboard_storage_full",
            "Whether there is no room on the disk",
            u64::from(gauges.storage_full.load(Relaxed)),
        ),
    ] {
        metrics::describe_gauge!(name, what);
        gauge!(name).set(value as f64);
    }
    for (name, what, value) in [
        (
            "switchboard_log_groups_total",
            "Groups of decisions written, each with one fsync",
            gauges.groups.load(Relaxed),
        ),
        ("switchboard_log_decisions_total", "Decisions written", gauges.decisions.load(Relaxed)),
    ] {
        metrics::describe_counter!(name, what);
        metrics::counter!(name).absolute(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_ready_when_no_reason_is_left() {
        let (readiness, gauges) = (Readiness::new(), Gauges::default());
        assert_eq!(readiness.reasons(&gauges), ["starting", "not connected to NATS"]);
        assert!(readiness.set(Reason::Starting, false) && readiness.set(Reason::NotConnected, false));
        assert!(readiness.is_ready() && readiness.reasons(&gauges).is_empty());
        assert!(!readiness.set(Reason::NotConnected, false));
        gauges.storage_full.store(true, Relaxed);
        assert_eq!(readiness.reasons(&gauges).len(), 1);
    }
}
