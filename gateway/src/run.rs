//! The daemon: starts everything, waits for a signal, stops everything in order.

use crate::{
    api::{self, App, LargeQuestions},
    audit,
    boards::Boards,
    clock,
    config::{BrokerConfig, GatewayConfig, host_port},
    duty,
    events::Events,
    ingest::{self, Ingest},
    late,
    notify::{self, Office},
    pki::Pki,
    policy::Signer,
    retention,
    rule_sets::{self, LiveRules},
    settings,
    store::{self, DATABASE, Store},
    upkeep,
};
use anyhow::Context as _;
use embedded_broker::{Broker, BrokerFiles};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rules::{ladder::TimesBySite, rule::RuleSet};
use serde_json::json;
use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Everything ends within this after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(4);
/// Histograms of the counters are folded this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Where the database is.
pub(crate) fn database(config: &GatewayConfig) -> PathBuf {
    config.data_dir.join(DATABASE)
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: GatewayConfig, text: String, rules: RuleSet) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(daemon(config, text, rules))
}

async fn daemon(config: GatewayConfig, text: String, rules: RuleSet) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let mut hung_up = signal(SignalKind::hangup()).context("watching for SIGHUP")?;
    let _held = store::take_data_dir(&config.data_dir)
        .with_context(|| format!("taking the data folder {}", config.data_dir.display()))?;
    let metrics = record_metrics();
    let store = Store::open(&database(&config))?.with_free_min(config.free_min);
    let clock_set = clock::step::at_start(&store).await.context("looking when it wrote last")?;
    note_settings(&config, &text, &store).await?;
    let rules = live_rules(&store, text, rules, config.times.clone()).await?;
    let pki = Pki::at(&config.pki_dir);
    let (mut broker, host, port) = start_broker(&config, &pki).await?;
    notify::set_up(&store, &config.notify).await.context("writing down who is notified")?;
    let stopped = CancellationToken::new();
    let mut tasks = JoinSet::new();
    // A board that stayed open over a restart knows by it that it has to fetch everything.
    let events = Events::new(u64::try_from(clock::now().unix_ms()).unwrap_or_default());
    let (broker_up, is_up) = watch::channel(false);
    let clinics = Arc::new(config.clinics.clone());
    duty::know_townships(&store, &clinics).await;
    let ingest = Ingest {
        host: host.clone(),
        port,
        identity: pki.county(),
        store: store.clone(),
        rules: rules.clone(),
        signer: signer(&pki),
        clinics: Arc::clone(&clinics),
        events: events.clone(),
        stopped: stopped.clone(),
    };
    tasks.spawn(ingest::run(ingest.clone(), broker_up));
    tasks.spawn(late::run(ingest.clone()));
    tasks.spawn(ingest::watch_deadlines(ingest));
    tasks.spawn(store.disk().clone().watch(events.clone(), stopped.clone()));
    tasks.spawn(audit::watch(store.clone(), rules.clone(), events.clone(), stopped.clone()));
    tasks.spawn(clock::step::watch(store.clone(), clock_set, stopped.clone()));
    // Those that are loaded now: what is put into the files counts from the next start.
    let here = (config.data_dir.clone(), pki.certificates_until());
    tasks.spawn(upkeep::watch(store.clone(), rules.clone(), events.clone(), here, stopped.clone()));
    if !config.retention.keeps_all() {
        tasks.spawn(retention::run(store.clone(), config.retention, stopped.clone()));
    }
    let boards = Arc::new(Boards::default());
    tasks.spawn(Arc::clone(&boards).watch(store.clone(), events.clone(), stopped.clone()));
    tasks.spawn(fold_histograms(metrics.clone(), stopped.clone()));
    let app = App {
        store: store.clone(),
        rules: rules.clone(),
        events: events.clone(),
        boards,
        clinics: Arc::clone(&clinics),
        broker_up: is_up,
        metrics,
        attempts: Arc::default(),
        confirmations: Arc::default(),
        previews: Arc::default(),
        large: LargeQuestions::default(),
        https: config.http.tls,
        stopped: stopped.clone(),
    };
    let served = api::serve(app, &config.http, &pki.board(), stopped.clone()).await?;
    tasks.spawn(served.task);
    let board = config.board(served.address.port());
    let office = Office { store, events, clinics, board, stopped: stopped.clone() };
    tasks.spawn(notify::run(config.notify, office));
    say_ready(served.address, &host_port(&host, port))?;
    tracing::info!(http = %served.address, rules = rules.live().number, "Gateway started.");

    let code = loop {
        let broker_ended = async {
            match broker.as_mut() {
                Some(broker) => broker.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminated.recv() => break ExitCode::SUCCESS,
            _ = interrupted.recv() => break ExitCode::SUCCESS,
            _ = hung_up.recv() => {
                tracing::warn!("The configuration is read at the start only; restart the gateway to change it.");
            }
            why = broker_ended => {
                tracing::error!(why, "The broker ended by itself; the gateway stops.");
                break ExitCode::FAILURE;
            }
            Some(ended) = tasks.join_next() => {
                let error = ended.err().map(|error| error.to_string());
                tracing::error!(error, "A part of the gateway ended by itself; the gateway stops.");
                break ExitCode::FAILURE;
            }
        }
    };
    tracing::info!("Stopping.");
    stopped.cancel();
    end(tasks).await;
    drop(broker);
    tracing::info!("Stopped.");
    Ok(code)
}

/// Waits until all tasks have ended, but not for ever.
async fn end(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_LIMIT, all).await.is_err() {
        tracing::warn!("Some tasks did not end in time.");
    }
}

fn record_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Somebody was first only in tests.
    drop(metrics::set_global_recorder(recorder));
    handle
}

/// The rules that are live, or those of program and configuration.
async fn live_rules(
    store: &Store,
    text: String,
    rules: RuleSet,
    times: TimesBySite,
) -> anyhow::Result<LiveRules> {
    let live = store
        .write(move |transaction| rule_sets::at_start(transaction, clock::now(), &text, rules));
    Ok(LiveRules::new(live.await.context("looking for the live rules")?, times))
}

/// The key that signs what boxes go by.
fn signer(pki: &Pki) -> Option<Arc<Signer>> {
    let signer = pki.make_policy_key().and_then(|()| Signer::read(&pki.policy()));
    if let Err(error) = &signer {
        tracing::error!(
            error = format!("{error:#}"),
            "Boxes hear of no rules; bring ca.key back for one start of the gateway."
        );
    }
    signer.ok().map(Arc::new)
}

/// Writes down with what the gateway is started, where that differs from the last time.
async fn note_settings(config: &GatewayConfig, rules: &str, store: &Store) -> anyhow::Result<()> {
    let (settings, now) = (settings::of(&config.text, rules), clock::now());
    let noted = store.write(move |transaction| settings::note(transaction, now, &settings)).await;
    if let Err(error) = noted {
        // A county whose disk is full goes on; what differs is told when it starts again.
        tracing::error!(%error, "With what the gateway was started could not be written down.");
    }
    Ok(())
}

/// The broker inside, where there is one; host and port of the one in use.
async fn start_broker(
    config: &GatewayConfig,
    pki: &Pki,
) -> anyhow::Result<(Option<Broker>, String, u16)> {
    match &config.broker {
        BrokerConfig::Embedded(address) => {
            let identity = pki.broker();
            let files = BrokerFiles { ca: identity.ca, cert: identity.cert, key: identity.key };
            let address = *address;
            let broker = tokio::task::spawn_blocking(move || Broker::start(address, &files))
                .await
                .context("starting the broker")??;
            let listens = broker.address();
            Ok((Some(broker), reachable(listens.ip()).to_string(), listens.port()))
        }
        BrokerConfig::Outside { host, port } => Ok((None, host.clone(), *port)),
    }
}

/// Whoever started the gateway learns where it is reached.
fn say_ready(http: SocketAddr, broker: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({"ready": {"http": http.to_string(), "broker": broker}}))?;
    out.flush()
}

async fn fold_histograms(metrics: PrometheusHandle, stopped: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(UPKEEP_EVERY) => metrics.run_upkeep(),
            () = stopped.cancelled() => return,
        }
    }
}

/// Where a listener of this machine is reached from this machine.
fn reachable(listens: IpAddr) -> IpAddr {
    match listens {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_county_connects_to_the_address_its_broker_listens_at() {
        let reached = |listens: &str| reachable(listens.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0"), "127.0.0.1");
        assert_eq!(reached("::"), "::1");
        assert_eq!(reached("10.0.0.7"), "10.0.0.7");
    }
}
