//! Story: the county is copied while readings arrive, and the copy becomes a county of its own.

#![expect(clippy::print_stdout, reason = "figures for whoever runs it with --nocapture")]

use anyhow::{Context as _, ensure};
use e2e::{Village, read_only};
use simulators::{
    client::Client,
    county::{BrokerPlace, County, CountyPlan},
    process::Program,
};
use std::{collections::BTreeSet, path::Path};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const COPIES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_in_flow_has_all_that_was_acked_and_becomes_a_county() -> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let performances = village.start().await?;
    village.flow(10).await?;
    village.waves(5).await?;
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
    for table in ["reading_group", "waveform"] {
        let there = count(&format!("SELECT count(*) FROM copy.{table}"))?;
        let of_its_envelopes = count(&format!(
            "SELECT count(*) FROM main.{table} WHERE (site, outbox, lane, seq) IN
               (SELECT site, outbox, lane, seq FROM copy.envelope)"
        ))?;
        ensure!(there == of_its_envelopes, "{table}: {there} of {of_its_envelopes} are there");
        all += there;
    }
    Ok(all)
}
