//! The daemon: starts everything, waits for a signal, stops everything in order.

use crate::{
    alerts::{self, Alerts, Lookout},
    bluetooth::{self, Holds, Radio},
    clock::Clock,
    config::AgentConfig,
    local_page::{self, LocalPage},
    outbox::{self, Outbox, OutboxClosed, OutboxSettings},
    policy::{InForce, PolicyKeeper},
    reach::ReachWatch,
    recorder::Recorder,
    serial_port, status,
    status::{Board, Sources},
    supervisor::Supervisor,
    time_daemon, uplink,
};
use anyhow::{Context as _, bail};
use drivers::output::Cursor;
use model::{
    device::DeviceAction,
    id::DeviceId,
    record::{AgentStarted, Record},
};
use std::{
    fs::{DirBuilder, File, TryLockError},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Mutex, watch},
};

/// Links and uplink end within this after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// And the last commit within this: together less than 5 s.
const COMMIT_LIMIT: Duration = Duration::from_millis(1500);
/// A box has two to four small cores, and devices are slow.
const WORKERS: usize = 2;

/// Version of the agent, as the county sees it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: AgentConfig) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(daemon(config));
    // Whatever hangs in the system must not keep the program.
    runtime.shutdown_background();
    ended
}

/// Makes the data folder, and keeps a second agent out of it for as long as the file is open.
fn take_data_dir(data_dir: &Path) -> anyhow::Result<File> {
    // What patients' devices said: nobody else reads it.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("making the data folder {}", data_dir.display()))?;
    let path = data_dir.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}; check who owns it", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!(
            "another clinic-agent works in {}; stop that one first, or give this one a data_dir of its own",
            data_dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Starts what reads the Bluetooth devices, where there are any; what it can be told.
fn start_bluetooth(
    config: &AgentConfig,
    zone_offset_s: i32,
    supervisor: &Supervisor,
    outbox: &Outbox,
    board: &Arc<Board>,
    clock: Clock,
) -> Holds {
    let mut devices = config.bluetooth.clone();
    for device in &mut devices {
        device.clock.zone_offset_s = Some(zone_offset_s);
    }
    let holds = Holds::of_devices(devices.iter().map(|device| device.address.clone()).collect());
    if devices.is_empty() {
        return holds;
    }
    let radio = Radio {
        first_link: config.devices.len(),
        devices,
        outbox: outbox.clone(),
        board: Arc::clone(board),
        holds: holds.clone(),
        clock,
        stopped: supervisor.stopped(),
    };
    supervisor.keep("bluetooth".to_owned(), move || bluetooth::run(radio.clone()));
    holds
}

/// Starts what runs the rules, the command for lamp or buzzer, and the page of the box.
fn start_alerts(
    config: &AgentConfig,
    supervisor: &Supervisor,
    outbox: &Outbox,
    reach: &ReachWatch,
    policy: watch::Receiver<Option<Arc<InForce>>>,
    board: &Arc<Board>,
    clock: Clock,
) -> Sources {
    let hook = config.hook.clone().map(|config| {
        let (calls, asked) = alerts::hook::channel();
        let hook = alerts::hook::Hook {
            config,
            calls: Arc::new(Mutex::new(asked)),
            board: Arc::clone(board),
            clock,
            stopped: supervisor.stopped(),
        };
        supervisor.keep("hook".to_owned(), move || alerts::hook::run(hook.clone()));
        calls
    });
    let (alerts, orders) = Alerts::prepare();
    let lookout = Lookout {
        site: config.site.clone(),
        data_dir: config.data_dir.clone(),
        outbox: outbox.clone(),
        reach: reach.clone(),
        policy,
        hook,
        clock,
        stopped: supervisor.stopped(),
        orders,
    };
    supervisor.keep("alerts".to_owned(), move || alerts::run(lookout.clone()));
    let sources = Sources { board: Arc::clone(board), outbox: outbox.clone(), alerts, clock };
    if let Some(page) = config.page.clone() {
        let page = LocalPage::new(config, page, sources.clone(), supervisor.stopped());
        supervisor.keep("page".to_owned(), move || local_page::serve(page.clone()));
    }
    sources
}

fn outbox_settings(config: &AgentConfig) -> OutboxSettings {
    OutboxSettings {
        path: config.data_dir.join("outbox.sqlite"),
        commit_after: config.outbox.commit_after,
        max_bytes: config.outbox.max_bytes,
        time_zone: config.time_zone.clone(),
    }
}

/// Tells the county, for its audit, that the configuration is another than it told of last; whether
/// it did. What it told of is committed with the telling.
async fn tell_configuration(
    config: &AgentConfig,
    outbox: &Outbox,
    clock: Clock,
) -> Result<bool, OutboxClosed> {
    let device = DeviceId::from(&config.site);
    let present = Cursor(config.sha256.clone().into_bytes());
    if outbox.cursor(&device).await?.as_ref() == Some(&present) {
        return Ok(false);
    }
    let action = DeviceAction {
        device: device.clone(),
        action: "configuration_changed".to_owned(),
        text: format!("agent.toml has the SHA-256 {}", config.sha256),
        observed: clock.now().observed(),
    };
    outbox.enqueue(outbox::NO_LINK, Record::Action(action)).await?;
    outbox.remember(outbox::NO_LINK, device, present).await?;
    Ok(true)
}

async fn daemon(config: AgentConfig) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let board = Arc::new(Board::new(&config));
    let supervisor = Supervisor::new(Arc::clone(&board), clock);
    let mut terminated = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("watching for SIGHUP")?;
    // Two agents on one outbox would take it for a copy and send everything twice.
    let _held = take_data_dir(&config.data_dir)?;
    let (outbox, mut writer, news) = Outbox::start(outbox_settings(&config), clock)
        .context("starting the thread of the outbox")?;
    let started = AgentStarted { version: VERSION.to_owned(), observed: clock.now().observed() };
    outbox.enqueue(outbox::NO_LINK, Record::Started(started)).await?;
    tell_configuration(&config, &outbox, clock).await?;

    let stopped = supervisor.stopped();
    supervisor.keep("clock".to_owned(), move || time_daemon::run(clock, stopped.clone()));
    let news = Arc::new(Mutex::new(news));
    let policy = PolicyKeeper::open(
        config.site.clone(),
        config.uplink.ca.clone(),
        &config.data_dir,
        Arc::clone(&board),
    );
    let reach = ReachWatch::start(clock.now());
    let sources =
        start_alerts(&config, &supervisor, &outbox, &reach, policy.follow(), &board, clock);
    let to_county = uplink::Uplink {
        config: config.uplink.clone(),
        site: config.site.clone(),
        outbox: outbox.clone(),
        news,
        policy: Arc::new(std::sync::Mutex::new(policy)),
        board: Arc::clone(&board),
        reach,
        clock,
        stopped: supervisor.stopped(),
    };
    supervisor.keep("uplink".to_owned(), move || uplink::run(to_county.clone()));
    let zone_offset_s = clock.offset_s(&config.time_zone);
    let mut devices = config.devices.clone();
    for device in &mut devices {
        device.options.zone_offset_s = Some(zone_offset_s);
    }
    let (recorder, mut recording) =
        Recorder::start(&config.data_dir, config.trace, &devices, clock)
            .context("starting the thread of the recorder")?;
    for (link, (device, tape)) in devices.into_iter().zip(recorder.tapes()).enumerate() {
        let name = format!("link {}", device.id);
        let link = serial_port::Link {
            number: link,
            config: device,
            outbox: outbox.clone(),
            board: Arc::clone(&board),
            tape,
            clock,
            stopped: supervisor.stopped(),
        };
        supervisor.keep(name, move || serial_port::run(link.clone()));
    }
    let holds = start_bluetooth(&config, zone_offset_s, &supervisor, &outbox, &board, clock);
    let desk = status::Desk {
        socket: config.data_dir.join("agent.sock"),
        sources,
        recorder,
        holds,
        stopped: supervisor.stopped(),
    };
    supervisor.keep("status".to_owned(), move || status::serve(desk.clone()));
    // Without systemd there is nobody to notify.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    tracing::info!(site = %config.site, devices = config.device_count(), "Agent started.");

    let told_to_stop = loop {
        tokio::select! {
            _ = terminated.recv() => break true,
            _ = interrupted.recv() => break true,
            () = writer.ended() => break false,
            _ = hangup.recv() => tracing::warn!(
                "The configuration is read at the start only; restart the agent to change it."
            ),
        }
    };
    tracing::info!("Stopping.");
    if !supervisor.stop(STOP_LIMIT).await {
        tracing::warn!("Some tasks did not end in time.");
    }
    if !told_to_stop {
        bail!("the thread of the outbox failed; send the log to whoever maintains the agent");
    }
    let (committed, recorded) =
        tokio::join!(writer.close(COMMIT_LIMIT), recording.close(COMMIT_LIMIT));
    if !recorded {
        tracing::warn!("The last traces did not end in time.");
    }
    if !committed {
        tracing::error!("The last commit did not end in time.");
    }
    tracing::info!("Stopped.");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configuration_is_told_when_it_is_another_and_never_twice() {
        const TEXT: &str = "site = \"heping-01\"\ndata_dir = \"data\"\n[uplink]\n\
            broker = \"broker.county.example:8883\"\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n";
        let folder = tempfile::tempdir().unwrap();
        let config = |text: &str| crate::config::parse(text, Path::new("")).unwrap();
        let (first, other) = (config(TEXT), config(&format!("{TEXT}# another\n")));
        let settings = || OutboxSettings {
            path: folder.path().join("outbox.sqlite"),
            commit_after: Duration::from_millis(1),
            max_bytes: 1 << 20,
            time_zone: first.time_zone.clone(),
        };
        let clock = Clock::start();
        for (config, told) in [(&first, true), (&first, false), (&other, true), (&first, true)] {
            // Each is a start of the agent.
            let (outbox, mut thread, _news) = Outbox::start(settings(), clock).unwrap();
            assert_eq!(tell_configuration(config, &outbox, clock).await.unwrap(), told);
            drop(outbox);
            assert!(thread.close(COMMIT_LIMIT).await);
        }
        // printf '' | sha256sum
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_ne!(first.sha256, empty);
        assert_eq!(first.sha256.len(), empty.len());
    }

    #[test]
    fn a_second_agent_stays_out_of_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = take_data_dir(folder.path()).unwrap();
        let told = take_data_dir(folder.path()).unwrap_err().to_string();
        assert!(told.contains("another clinic-agent"), "{told}");
        drop(first);
        take_data_dir(folder.path()).unwrap();
    }
}
