//! The daemon: starts everything, waits for a signal, stops everything in order.

use crate::{
    api::{self, App},
    clock,
    config::{BrokerConfig, GatewayConfig},
    events::Events,
    ingest::{self, Ingest},
    pki::Pki,
    store::Store,
};
use anyhow::Context as _;
use embedded_broker::{Broker, BrokerFiles};
use metrics_exporter_prometheus::PrometheusBuilder;
use rules::rule::RuleSet;
use serde_json::json;
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Everything ends within this after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(4);
/// Histograms of the counters are folded this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The rule set that comes with the program.
const DEFAULT_RULES: &str = include_str!("../../configs/rules/default.json");

/// Where the database is.
pub(crate) fn database(config: &GatewayConfig) -> PathBuf {
    config.data_dir.join("county.sqlite")
}

/// The rule set of the configuration, checked.
pub(crate) fn rules(config: &GatewayConfig) -> anyhow::Result<RuleSet> {
    match &config.rules {
        None => RuleSet::from_json(DEFAULT_RULES).context("the rule set of the program"),
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            RuleSet::from_json(&text).with_context(|| format!("the rule set {}", path.display()))
        }
    }
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: GatewayConfig) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(daemon(config))
}

async fn daemon(config: GatewayConfig) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("making the data folder {}", config.data_dir.display()))?;
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // Somebody was first only in tests.
    drop(metrics::set_global_recorder(recorder));
    let rules = Arc::new(rules(&config)?);
    let store = Store::open(&database(&config))?;
    let pki = Pki::at(&config.pki_dir);
    let (broker, host, port) = match &config.broker {
        BrokerConfig::Embedded(address) => {
            let identity = pki.broker();
            let files = BrokerFiles { ca: identity.ca, cert: identity.cert, key: identity.key };
            let address = *address;
            let broker = tokio::task::spawn_blocking(move || Broker::start(address, &files))
                .await
                .context("starting the broker")??;
            let port = broker.address().port();
            (Some(broker), "127.0.0.1".to_owned(), port)
        }
        BrokerConfig::Outside { host, port } => (None, host.clone(), *port),
    };
    let stopped = CancellationToken::new();
    let tasks = TaskTracker::new();
    // Ids of events count on from the clock, so that a board that stayed open notices a restart.
    let events = Events::new(u64::try_from(clock::now().unix_ms()).unwrap_or_default());
    let (broker_up, is_up) = watch::channel(false);
    let clinics = Arc::new(config.clinics.clone());
    let ingest = Ingest {
        host: host.clone(),
        port,
        identity: pki.county(),
        store: store.clone(),
        rules: Arc::clone(&rules),
        clinics: Arc::clone(&clinics),
        events: events.clone(),
        stopped: stopped.clone(),
    };
    tasks.spawn(ingest::run(ingest.clone(), broker_up));
    tasks.spawn(ingest::watch_deadlines(ingest, is_up.clone()));
    let (handle, ending) = (metrics.clone(), stopped.clone());
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_EVERY) => handle.run_upkeep(),
                () = ending.cancelled() => return,
            }
        }
    });
    let app = App { store, events, clinics, broker_up: is_up, metrics, stopped: stopped.clone() };
    let served = api::serve(app, &config.http, &pki.board(), stopped.clone()).await?;
    tasks.spawn(served.task);
    {
        let mut out = io::stdout().lock();
        let broker = format!("{host}:{port}");
        writeln!(
            out,
            "{}",
            json!({"ready": {"http": served.address.to_string(), "broker": broker}})
        )?;
        out.flush()?;
    }
    tracing::info!(http = %served.address, rules = rules.version(), "Gateway started.");

    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    tracing::info!("Stopping.");
    stopped.cancel();
    tasks.close();
    if tokio::time::timeout(STOP_LIMIT, tasks.wait()).await.is_err() {
        tracing::warn!("Some tasks did not end in time.");
    }
    drop(broker);
    tracing::info!("Stopped.");
    Ok(ExitCode::SUCCESS)
}
