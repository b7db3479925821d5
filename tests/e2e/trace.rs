//! Story: a link is recorded on command, and an alarm leaves what was around it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by failing"
)]
#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use serde_json::Value;
use simulators::{
    client::{ApiReading, Client},
    county::BrokerPlace,
    demo::cast,
    site::{Performance, stage_clock},
    stage::pty::StageTime,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const EVER: &str = "1970-01-01T00:00:00Z";
const LIMIT: Duration = Duration::from_secs(90);
/// The line is blocked after the traces have begun.
const OCCLUSION: (u64, u64) = (15, 60);
/// Readings that are compared at least.
const READINGS_MIN: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_gives_the_readings_that_arrived_and_an_alarm_is_kept() -> anyhow::Result<()> {
    let mut village = Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "steady").await?;
    village.county.start().await?;
    let mut scenario = Scenario::built_in("steady").unwrap();
    scenario.occlusion = vec![OCCLUSION];
    let (clock, time) = (stage_clock(), StageTime::start(1.0));
    let mut performances = Vec::new();
    let patient = Patient::new(7, scenario, EcgSource::Recording);
    for plan in cast("heping", 7, &patient) {
        let (port, truth) = (village.site.port(&plan.id), village.site.truth());
        performances.push(Performance::start(&plan, &port, clock, time, &truth)?);
    }
    village.site.start()?;
    let (config, client) = (village.site.config(), village.county.client()?);
    let devices = ["heping-ecg-01", "heping-pump-01"];
    for device in devices {
        until("it is read", LIMIT, async || Ok(!readings(&client, device, EVER).await?.is_empty()))
            .await?;
    }

    let unknown = trace("start", "heping-ecg-99", &config);
    ensure!(unknown.status.code() == Some(2) && said(&unknown).contains("known: heping-ecg-01"));
    ensure!(trace("stop", devices[0], &config).status.code() == Some(1), "nothing is recorded");
    for device in devices {
        let started = trace("start", device, &config);
        ensure!(started.status.success() && said(&started).contains("trace stop"), "{started:?}");
        ensure!(trace("start", device, &config).status.code() == Some(1), "it is recorded already");
    }
    let traces = village.site.data().join("traces");
    until("the alarm is kept", LIMIT, async || Ok(kept(&traces, devices[1])?.is_some())).await?;
    let mut files = BTreeMap::new();
    for device in devices {
        let opened = until_recorded(&traces, device).await?;
        until("readings arrive", LIMIT, async || {
            Ok(readings(&client, device, &opened).await?.len() > READINGS_MIN)
        })
        .await?;
        let stopped = trace("stop", device, &config);
        ensure!(stopped.status.success(), "{stopped:?}");
        let path = said(&stopped).rsplit(' ').next().map(|path| PathBuf::from(path.trim()));
        files.insert(device, (path.context("a path")?, opened));
    }

    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    for (device, (path, opened)) in &files {
        let compared = compare(&client, device, path, opened).await?;
        let bytes = fs::metadata(path)?.len();
        println!("{device}: {compared} readings decoded and stored alike, {bytes} bytes of trace");
    }
    village.site.stop().await?;
    village.county.stop().await?;
    village.prove()?;
    ensure!(trace("start", devices[0], &config).status.code() == Some(1), "no agent is running");

    let path = kept(&traces, devices[1])?.context("a kept trace")?;
    ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o600);
    let told = decode(&path)?;
    let alarms: Vec<_> = told.iter().filter(|line| line["record"] == "alarm").collect();
    ensure!(alarms.iter().any(|alarm| alarm["phase"] == "start"), "{alarms:?}");
    println!("kept around the alarm: {} lines, {} alarms", told.len(), alarms.len());
    Ok(())
}

fn trace(order: &str, device: &str, config: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(["__clinic-agent", "trace", order, device, "--config"]).arg(config);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn decode(path: &Path) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(PROGRAM).args(["decode", "--json"]).arg(path).output()?;
    ensure!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// The device's traces whose names end so.
fn found(traces: &Path, device: &str, end: &str) -> anyhow::Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(traces) else { return Ok(None) };
    for entry in entries {
        let name = entry?.file_name().into_string().unwrap();
        if name.starts_with(device) && name.ends_with(end) {
            return Ok(Some(traces.join(name)));
        }
    }
    Ok(None)
}

fn kept(traces: &Path, device: &str) -> anyhow::Result<Option<PathBuf>> {
    found(traces, device, "Z.trace")
}

/// Waits until the trace has its first event; when that was.
async fn until_recorded(traces: &Path, device: &str) -> anyhow::Result<String> {
    let path = found(traces, device, "-asked.trace")?.context("no trace was begun")?;
    let events = || -> anyhow::Result<String> { Ok(fs::read_to_string(&path)?) };
    until("the trace begins", LIMIT, async || Ok(events()?.contains(" opened\n"))).await?;
    let text = events()?;
    let started = text.lines().find_map(|line| line.strip_prefix("started: ")).unwrap();
    let first = text.lines().find_map(|line| line.strip_suffix(" opened")).unwrap();
    let started_ms = started.parse::<jiff::Timestamp>()?.as_millisecond();
    let since_ms: i64 = first.replace('.', "").parse::<i64>()? / 1000;
    Ok(jiff::Timestamp::from_millisecond(started_ms + since_ms)?.to_string())
}

/// What the devices behind a link said since then.
async fn readings(client: &Client, link: &str, from: &str) -> anyhow::Result<Vec<ApiReading>> {
    let answer: Value = client.get("/api/v1/devices", &[]).await?;
    let devices = answer["devices"].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for device in devices.iter().filter_map(|device| device["device"].as_str()) {
        // Each pump of a station is a device of its own, under the id of the link.
        if device.starts_with(link) {
            all.extend(client.readings(device, from).await?);
        }
    }
    Ok(all)
}

/// What was decoded of each metric is how the county's values begin, in their order; how many.
async fn compare(
    client: &Client,
    device: &str,
    path: &Path,
    opened: &str,
) -> anyhow::Result<usize> {
    let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for reading in readings(client, device, opened).await? {
        let value = reading.value.or(reading.no_data).unwrap_or_default();
        let key = format!("{} {} {}", reading.device, reading.channel, reading.metric);
        stored.entry(key).or_default().push(value);
    }
    let mut decoded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in decode(path)?.iter().filter(|line| line["record"] == "reading") {
        let text = |name: &str| line[name].as_str().map(ToOwned::to_owned);
        let value = text("value").or(text("no_data")).unwrap_or_default();
        let channel = text("channel").unwrap_or_default();
        let (device, metric) = (text("device").unwrap(), text("metric").unwrap());
        decoded.entry(format!("{device} {channel} {metric}")).or_default().push(value);
    }
    for (metric, values) in &decoded {
        let stored = stored.get(metric).with_context(|| format!("{metric} is not stored"))?;
        // What the driver says when it ends, in the millisecond in which it begins anew.
        let ended = stored.first().is_some_and(|first| first == "silent") && values[0] != "silent";
        let since = &stored[usize::from(ended)..];
        ensure!(since.starts_with(values), "{metric}: {values:?}, stored {stored:?}");
    }
    ensure!(decoded.len() == stored.len(), "{:?}, {:?}", decoded.keys(), stored.keys());
    let compared = decoded.values().map(Vec::len).sum();
    ensure!(compared >= READINGS_MIN, "{compared} readings of {device}");
    Ok(compared)
}
