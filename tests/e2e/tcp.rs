//! Stories: a device behind a serial server, and one that connects to the box by itself.

use anyhow::{Context as _, ensure};
use e2e::{Village, read_only, until};
use simulators::{
    county::{BrokerPlace, free_port},
    site::stage_clock,
    stage::pty::StageTime,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::timeout,
};
use virtual_devices::{EcgSource, Patient, Scenario, Setup, VirtualDevice};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
/// Results the source has to say.
const RESULTS: u64 = 200;
/// How often the agent is killed meanwhile.
const KILLS: u64 = 5;
/// The source says more only while fewer than this are not acknowledged.
const UNACKED_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_connects_has_every_result_once_though_the_agent_is_killed()
-> anyhow::Result<()> {
    let mut village = empty_village().await?;
    let port = free_port()?;
    let options = "options = { kind = \"glucose_meter\", acknowledge = true }";
    add_device(&village, "json-lines", &format!("tcp-listen://127.0.0.1:{port}"), options)?;
    village.county.start().await?;
    village.site.start()?;

    let mut source = Source::default();
    let mut kills = 0;
    while !source.is_done() {
        let mut connection = connect(port).await?;
        if kills == 0 {
            // The agent greets whom it holds, and so this one comes second.
            connection.next_answer(&mut source).await?;
            turned_away(port).await?;
        }
        let until = if kills < KILLS { (kills + 1) * RESULTS / (KILLS + 1) } else { RESULTS };
        source.talk(&mut connection, until).await?;
        if kills < KILLS {
            kills += 1;
            village.site.kill().await?;
            village.site.start()?;
        }
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    village.prove()?;
    let stored = stored_seqs(&village.database())?;
    let expected: BTreeMap<u64, u64> = (1..=RESULTS).map(|seq| (seq, 1)).collect();
    assert_eq!(stored, expected, "each result once");
    let log = fs::read_to_string(village.site.log())?;
    assert!(log.contains("A second connection was turned away."), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_behind_a_serial_server_is_read_and_read_again_after_a_hang_up()
-> anyhow::Result<()> {
    let mut village = empty_village().await?;
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let port = server.local_addr()?.port();
    add_device(&village, "pm6750", &format!("tcp://127.0.0.1:{port}"), "")?;
    village.county.start().await?;
    village.site.start()?;
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    let setup = Setup {
        device: "tcp-01".to_owned(),
        seed: 7,
        clock: stage_clock(),
        patient: Patient::new(7, scenario, EcgSource::Recording),
    };
    let mut monitor = virtual_devices::create("pm6750", setup).context("no pm6750")?;
    let time = StageTime::start(1.0);
    for blocks in [5, 10] {
        let (stream, _) = timeout(PATIENCE, server.accept()).await.context("nobody connects")??;
        tokio::select! {
            ended = play(stream, monitor.as_mut(), time) => ended?,
            flowed = village.waves(blocks) => flowed?,
        }
    }
    // The stream is closed: the agent says so, and tries again.
    until("the lost link is in the log", PATIENCE, async || {
        let log = fs::read_to_string(village.site.log())?;
        Ok(log.contains("Port is back.") && log.matches("Port is lost.").count() == 2)
    })
    .await?;
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    assert!(proof.readings > 0 && proof.blocks >= 10, "{proof:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_that_bytes_arrive_and_make_no_frame() -> anyhow::Result<()> {
    let mut village = empty_village().await?;
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let port = server.local_addr()?.port();
    add_device(&village, "tm2655", &format!("tcp://127.0.0.1:{port}"), "")?;
    village.county.start().await?;
    village.site.start()?;
    let (stream, _) = timeout(PATIENCE, server.accept()).await.context("nobody connects")??;
    let stream = Mutex::new(stream);
    until("the log says what to check", PATIENCE, async || {
        stream.lock().await.write_all(b"\x81\xfe\x81\xfe").await?;
        let log = fs::read_to_string(village.site.log())?;
        Ok(log.contains("bytes arrive, none make a frame") && log.contains("2400 8N1 expected"))
    })
    .await?;
    village.site.stop().await?;
    village.county.stop().await
}

/// A village without devices.
async fn empty_village() -> anyhow::Result<Village> {
    Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, Vec::new()).await
}

fn add_device(village: &Village, driver: &str, port: &str, more: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).open(village.site.config())?;
    write!(
        file,
        "\n[[device]]\nid = \"tcp-01\"\ndriver = \"{driver}\"\nport = \"{port}\"\n{more}\n"
    )?;
    Ok(())
}

/// Plays a device on a connection, until that ends.
async fn play(
    mut stream: TcpStream,
    device: &mut dyn VirtualDevice,
    time: StageTime,
) -> anyhow::Result<()> {
    let mut chunk = [0; 1024];
    loop {
        device.advance(time.now());
        stream.write_all(&device.take_output()).await?;
        let due = device.next_due().map_or(PATIENCE, |due| time.until(due));
        tokio::select! {
            read = stream.read(&mut chunk) => match read? {
                0 => return Ok(()),
                count => device.receive(time.now(), chunk.get(..count).unwrap_or_default()),
            },
            () = tokio::time::sleep(due) => {}
        }
    }
}

/// A connection of the source.
struct Talk {
    lines: BufReader<TcpStream>,
}

/// Connects as often as it takes: the agent may be starting.
async fn connect(port: u16) -> anyhow::Result<Talk> {
    let connecting = async {
        let mut again = tokio::time::interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                return stream;
            }
        }
    };
    let stream = timeout(PATIENCE, connecting).await.context("the agent does not listen")?;
    Ok(Talk { lines: BufReader::new(stream) })
}

async fn turned_away(port: u16) -> anyhow::Result<()> {
    let mut second = TcpStream::connect(("127.0.0.1", port)).await?;
    let read = timeout(PATIENCE, second.read(&mut [0; 16])).await.context("it is held")?;
    ensure!(matches!(read, Ok(0) | Err(_)), "a second connection was served");
    Ok(())
}

impl Talk {
    /// Reads one answer: the agent does not hang up while nobody kills it.
    async fn next_answer(&mut self, source: &mut Source) -> anyhow::Result<()> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.lines.read_line(&mut line)).await.context("no answer")?;
        ensure!(read.is_ok_and(|count| count > 0), "the agent hung up though nobody killed it");
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        let acked = answer.get("ack").and_then(serde_json::Value::as_u64);
        let acked = acked.with_context(|| format!("refused: {line}"))?;
        source.counted.retain(|&number, seq| {
            let waits = number > acked;
            if !waits {
                source.unacked.remove(seq);
            }
            waits
        });
        Ok(())
    }
}

/// A source with numbered results that keeps each until it is acknowledged.
#[derive(Default)]
struct Source {
    said: u64,
    unacked: BTreeSet<u64>,
    /// The number of each line on this connection, and which result it was.
    counted: BTreeMap<u64, u64>,
}

impl Source {
    fn is_done(&self) -> bool {
        self.said == RESULTS && self.unacked.is_empty()
    }

    /// Sends again what is not acknowledged, and goes on up to a result.
    async fn talk(&mut self, connection: &mut Talk, until: u64) -> anyhow::Result<()> {
        self.counted.clear();
        let mut number = 0;
        let mut waiting: Vec<u64> = self.unacked.iter().copied().collect();
        loop {
            while self.said < until && self.unacked.len() < UNACKED_MAX {
                self.said += 1;
                self.unacked.insert(self.said);
                waiting.push(self.said);
            }
            for seq in waiting.drain(..) {
                number += 1;
                self.counted.insert(number, seq);
                let line = format!(
                    "{{\"metric\":\"glu_cap_pl\",\"value\":5.5,\"unit\":\"mmol/L\",\"seq\":{seq}}}\n"
                );
                connection.lines.get_mut().write_all(line.as_bytes()).await?;
            }
            // Killed in flow: what was said last waits for its answer.
            if self.said == until && (until < RESULTS || self.unacked.is_empty()) {
                return Ok(());
            }
            connection.next_answer(self).await?;
        }
    }
}

/// How often the county has each result, repeats that it marked left out.
fn stored_seqs(database: &Path) -> anyhow::Result<BTreeMap<u64, u64>> {
    let county = read_only(database)?;
    let mut statement = county.prepare(
        "SELECT device_seq, count(*) FROM reading_group
         JOIN metric_list ON metric_list.id = reading_group.metric_list
         WHERE metrics = 'glu_cap_pl' AND duplicate_of IS NULL GROUP BY device_seq",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    rows.map(|row| {
        let (seq, count) = row?;
        Ok((u64::try_from(seq)?, u64::try_from(count)?))
    })
    .collect()
}
