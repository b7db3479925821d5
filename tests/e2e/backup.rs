//! Stories: the county is copied while readings arrive; the copy becomes a county of its own, or
//! takes the place of the county, which then gets again from the box what it lacks.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, read_only, until};
use model::id::Lane;
use rusqlite::Connection;
use simulators::{
    client::Client,
    county::{BrokerPlace, County, CountyPlan},
    process::Program,
};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const COPIES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_in_flow_has_all_that_was_acked_and_becomes_a_county() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    village.flow(10).await?;
    village.waves(5).await?;
    // What the broker took while the county had just begun comes again after a time.
    let here = Client::new(&village.county.url(), village.county.token(), None)?;
    until("the county misses nothing", Duration::from_secs(60), async || {
        Ok(here.ledger().await?.iter().all(|lane| lane.gaps.is_empty()))
    })
    .await?;
    let file = village.folder().join("copy.sqlite");
    let name = file.display().to_string();
    let mut rows = 0;
    for copy in 0..COPIES {
        let before = envelopes(&village.database())?;
        let words = ["backup", &name, "--overwrite"];
        let words = if copy == 0 { &words[..2] } else { &words[..] };
        village.county.command(words).await?;
        let copied = envelopes(&file)?;
        let missing: Vec<_> = before.difference(&copied).collect();
        ensure!(missing.is_empty(), "acked before, and not in the copy: {missing:?}");
        rows = same_rows(&village.database(), &file)?;
        village.flow(5).await?;
    }

    // The copy on another machine, beside a county that was begun there meanwhile.
    let plan = CountyPlan {
        dir: village.folder().join("elsewhere"),
        http_port: 0,
        broker: BrokerPlace::Embedded,
        clinics: vec![("和平镇卫生院", "heping")],
    };
    let mut second = County::prepare(&Program::at(Path::new(PROGRAM)), plan).await?;
    let said = second.command(&["restore", &name]).await?;
    ensure!(said.contains("checked") && said.contains("county.sqlite.before-"), "{said}");
    second.start().await?;
    let refused = second.command(&["restore", &name]).await;
    let refused = format!("{:#}", refused.err().context("restored under a running gateway")?);
    ensure!(refused.contains("stop that one first"), "{refused}");
    // People and tokens are those of the first.
    let client = Client::new(&second.url(), village.county.token(), None)?;
    let lanes = client.ledger().await?;
    ensure!(!lanes.is_empty() && lanes.iter().all(|lane| lane.gaps.is_empty()), "{lanes:?}");
    let restored = village.folder().join("elsewhere/data/county.sqlite");
    same_rows(&village.database(), &restored)?;
    let (first, second_one) = (generation(&village.county).await?, generation(&second).await?);
    ensure!(first.0 != second_one.0 && !first.1 && second_one.1, "{first:?} {second_one:?}");
    second.stop().await?;

    // The county that was copied has lost nothing by it.
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let proof = village.prove()?;
    println!("{COPIES} copies in flow, the last with {rows} rows, none missing; {proof:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_county_gets_again_what_the_box_keeps_and_is_told_what_it_does_not()
-> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    village.flow(10).await?;
    let copy = village.folder().join("copy.sqlite");
    village.county.command(&["backup", &copy.display().to_string()]).await?;
    village.flow(20).await?;
    village.waves(5).await?;

    // The agent runs on, with the acks of before in its memory.
    let lost = go_back(&mut village, &copy).await?;
    let has_again = async |village: &Village, part: usize| {
        let database = village.database();
        until("the county gets it again", Duration::from_secs(60), async || {
            let now = envelopes(&database)?;
            Ok(lost.iter().filter(|key| now.contains(*key)).count() >= lost.len() / part)
        })
        .await
    };
    has_again(&village, 1).await?;

    // It is killed while the county is away, and once more as it sends again.
    let lost_twice = go_back(&mut village, &copy).await?;
    ensure!(lost_twice.is_superset(&lost), "the second time it had less");
    village.site.kill().await?;
    village.site.start()?;
    has_again(&village, 3).await?;
    village.site.kill().await?;
    village.site.start()?;
    has_again(&village, 1).await?;
    village.flow(5).await?;
    for performance in performances {
        performance.unplug().await?;
    }
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let kept = village.prove()?;
    ensure!(kept.dropped == 0 && kept.blocks > 0, "{kept:?}");

    // A day later, and only then somebody restores it: the box keeps nothing of it any more.
    let outbox = village.site.outbox();
    let before = village.folder().join("outbox-before.sqlite");
    fs::copy(&outbox, &before).context("copying the outbox")?;
    let later = "UPDATE meta SET value = value + 26 * 3600 WHERE key = 'ran_s'";
    let aged = Connection::open(&outbox)?.execute(later, [])?;
    ensure!(aged == 1, "the outbox does not know how long the agent ran");
    let lost = go_back(&mut village, &copy).await?;
    village.site.start()?;
    until("the county knows what it will not get", Duration::from_secs(60), async || {
        let lanes = village.county.client()?.ledger().await?;
        let told = lanes.iter().filter(|lane| !lane.dropped.is_empty() && lane.gaps.is_empty());
        Ok(told.count() == Lane::ALL.len())
    })
    .await?;
    let ledger = village.county.command(&["ledger"]).await?;
    ensure!(ledger.contains("the county was restored without them"), "{ledger}");
    village.drained().await?;
    village.site.stop().await?;
    village.county.stop().await?;
    let gone = village.prove_with(&before)?;
    // What was at the county and not acked yet waited at the box, and came again.
    let lost = u64::try_from(lost.len())?;
    ensure!((1..=lost).contains(&gone.dropped), "{gone:?}, lost {lost}");
    println!("{} came again, twice; a day later {gone:?}", lost_twice.len());
    Ok(())
}

/// Stops the county, restores it from the copy and starts it; what it had and has no more.
async fn go_back(village: &mut Village, copy: &Path) -> anyhow::Result<BTreeSet<Key>> {
    village.county.stop().await?;
    let before = envelopes(&village.database())?;
    village.county.command(&["restore", &copy.display().to_string()]).await?;
    let after = envelopes(&village.database())?;
    ensure!(after.is_subset(&before) && after.len() < before.len(), "nothing was lost");
    village.county.start().await?;
    Ok(before.difference(&after).cloned().collect())
}

/// Outbox, lane, seq, hash.
type Key = (String, String, i64, Vec<u8>);

fn envelopes(county: &Path) -> anyhow::Result<BTreeSet<Key>> {
    let county = read_only(county)?;
    let mut statement = county.prepare("SELECT outbox, lane, seq, hash FROM envelope")?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>();
    rows.context("reading envelopes")
}

/// The generation by which boxes know the county, and whether it was restored.
async fn generation(county: &County) -> anyhow::Result<(String, bool)> {
    let told: serde_json::Value =
        serde_json::from_str(&county.command(&["ledger", "--json"]).await?)?;
    let told = told.get("county").context("the ledger does not say which county it is")?;
    let text = told.get("generation").and_then(serde_json::Value::as_str);
    let restored = told.get("restored_at").is_some_and(|at| !at.is_null());
    Ok((text.context("it has no generation")?.to_owned(), restored))
}

/// Every row of the copy is one of the county, and all of its envelopes' rows are there; how many.
fn same_rows(county: &Path, copy: &Path) -> anyhow::Result<i64> {
    let county = read_only(county)?;
    county.execute("ATTACH ?1 AS copy", [copy.display().to_string()])?;
    let text = |query: &str| county.query_row(query, [], |row| row.get::<_, String>(0));
    let count = |query: &str| county.query_row(query, [], |row| row.get::<_, i64>(0));
    ensure!(text("PRAGMA copy.integrity_check")? == "ok", "the copy is damaged");
    for table in ["envelope", "reading_group", "waveform", "device_alarm", "drop_record", "person"]
    {
        let other = format!(
            "SELECT count(*) FROM (SELECT * FROM copy.{table} EXCEPT SELECT * FROM main.{table})"
        );
        ensure!(count(&other)? == 0, "{table}: the copy has rows of its own");
    }
    let mut all = 0;
    let lane = "JOIN main.outbox_lane AS place ON place.id = outbox_lane";
    for (table, join) in [("reading_group", lane), ("waveform", "")] {
        let there = count(&format!("SELECT count(*) FROM copy.{table}"))?;
        let of_its_envelopes = count(&format!(
            "SELECT count(*) FROM main.{table} {join} WHERE (site, outbox, lane, seq) IN
               (SELECT site, outbox, lane, seq FROM copy.envelope)"
        ))?;
        ensure!(there == of_its_envelopes, "{table}: {there} of {of_its_envelopes} are there");
        all += there;
    }
    Ok(all)
}
