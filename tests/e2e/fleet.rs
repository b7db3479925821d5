//! Story: a fleet whose boxes lose their connections loads a county, and all arrives once.

use e2e::Village;
use simulators::{
    county::BrokerPlace,
    fleet::{self, CountyPlace, FleetPlan},
};
use std::{path::Path, time::Duration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const NAMES: [&str; 3] = ["dongfeng", "heping", "xinhua"];

#[tokio::test(flavor = "multi_thread")]
async fn what_many_boxes_send_arrives_once_though_connections_break() -> anyhow::Result<()> {
    let mut village =
        Village::prepare_with(Path::new(PROGRAM), BrokerPlace::Embedded, Vec::new()).await?;
    let identities = village.folder().join("identities");
    for name in NAMES {
        village.county.issue(name, &identities.join(name)).await?;
    }
    village.county.start().await?;
    let (host, port) = village.county.broker().rsplit_once(':').unwrap_or_default();
    let mut plan = FleetPlan {
        sites: 3.try_into()?,
        devices: 5.try_into()?,
        rate: 300.try_into()?,
        duration: Duration::from_secs(6),
        commit_every: Duration::from_millis(50),
        seed: 7,
        breaks_every: Some(Duration::from_secs(1)),
        county: CountyPlace::There {
            broker: (host.to_owned(), port.parse()?),
            identities,
            api: Some(village.county.client()?),
        },
    };
    let report = fleet::run(&plan).await?;
    assert!(report.is_clean(), "{report:#?}");
    // Three boxes, each a part of 300 readings a second for 6 s, in groups of four.
    assert!((1788..=1800).contains(&report.sent), "{report:#?}");
    assert_eq!(report.acked, report.sent);
    assert!(report.breaks >= 6 && report.connections >= report.breaks + 3, "{report:#?}");

    plan.sites = 4.try_into()?;
    let error = fleet::run(&plan).await.unwrap_err().to_string();
    assert!(error.contains("identities of 3 boxes, not of 4"), "{error}");
    village.county.stop().await
}
