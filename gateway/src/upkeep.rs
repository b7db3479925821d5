//! What somebody has to look after before it fails, at boxes and here: room on the disk, the days
//! that certificates have left. Limits of patients whose time is over end here too.
//!
//! What a box says of it stands in the `site` table (`intake`); when it is an alert the rules say.
//! The county's clock judges, so that a box that is out of reach is judged too.

use crate::{
    alerts::{self, Context, Evaluation},
    audit::with_no_clinic,
    clock,
    disk::free_pct,
    events::Events,
    patients::limit,
    rule_sets::LiveRules,
    store::{Store, StoreError},
};
use model::{id::SiteId, time::WallTime};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;
use uplink_proto::state::Upkeep;

/// Nothing of it changes faster.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Looks at the start and again and again. The certificates are those that the services have
/// loaded.
pub(crate) async fn watch(
    store: Store,
    rules: LiveRules,
    events: Events,
    (data_dir, certificate_until): (PathBuf, Option<WallTime>),
    stopped: CancellationToken,
) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stopped.cancelled() => return,
        }
        let own = Upkeep { free_pct: free_pct(&data_dir), certificate_until };
        let (rules, now) = (rules.rules(), clock::now());
        let judged = store.write(move |transaction| {
            limit::run_out(transaction, &rules, now)?;
            judge(Context { connection: transaction, rules: &rules, now }, own)
        });
        match judged.await {
            Ok(alerts) => alerts
                .into_iter()
                .for_each(|alert| events.publish("alert", &with_no_clinic(alert), None)),
            // Told once, not with every look.
            Err(StoreError::Disk(_)) => {}
            Err(error) => tracing::error!(%error, "Disks and certificates could not be looked at."),
        }
    }
}

/// Judges what boxes have said, and what is so here; the alerts that changed.
pub(crate) fn judge(context: Context<'_>, own: Upkeep) -> rusqlite::Result<Vec<Value>> {
    let mut evaluation = Evaluation::default();
    evaluation.upkeep(context, &SiteId::county(), own)?;
    for (site, told, out_of_service) in told(context)? {
        match out_of_service {
            Some(why) => evaluation.upkeep_over(context, &site, &why)?,
            None => evaluation.upkeep(context, &site, told)?,
        }
    }
    // Mostly there is no news, and nothing to write.
    if evaluation.is_quiet() { Ok(Vec::new()) } else { alerts::store(context, evaluation) }
}

/// What each box said last, and why it is out of service where somebody took it off.
fn told(context: Context<'_>) -> rusqlite::Result<Vec<(SiteId, Upkeep, Option<String>)>> {
    let mut statement = context.connection.prepare_cached(
        "SELECT site.site, free_pct, certificate_until_ms,
           CASE WHEN json_valid(engine.state) THEN coalesce(json_extract(engine.state,
               '$.devices.\"' || site.site || '\".out_of_service.reason'),
             json_extract(engine.state, '$.out_of_service.reason')) END AS out_of_service
         FROM site LEFT JOIN engine ON engine.site = site.site AND engine.device = site.site",
    )?;
    let rows = statement.query_map([], |row| {
        let site: String = row.get(0)?;
        let until_ms: Option<i64> = row.get(2)?;
        let certificate_until = until_ms.map(WallTime::from_unix_ms);
        let told = Upkeep { free_pct: row.get(1)?, certificate_until };
        Ok((SiteId::new(&site).ok(), told, row.get(3)?))
    })?;
    let read = rows.map(|row| row.map(|(site, told, out)| Some((site?, told, out))));
    read.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alerts::act::{self, Deed, Service},
        intake::{self, Delivery},
    };
    use model::{
        id::{DeviceId, OutboxId},
        time::ClockQuality,
    };
    use rules::{
        alert::{AckReason, AlertId},
        binding::Subject,
        engine::Action,
        rule::RuleSet,
    };
    use rusqlite::Transaction;
    use std::sync::Arc;
    use uplink_proto::state::SiteState;

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

    struct County {
        store: Store,
        rules: RuleSet,
        _folder: tempfile::TempDir,
    }

    impl County {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("county.sqlite")).unwrap();
            let rules = include_str!("../../configs/rules/default.json");
            Self { store, rules: RuleSet::from_json(rules).unwrap(), _folder: folder }
        }

        /// A box tells its state.
        async fn hear(&self, site: &str, upkeep: Upkeep) {
            self.hear_state(site, true, upkeep).await;
        }

        /// Offline: the will, which was written when the connection began.
        async fn hear_state(&self, site: &str, online: bool, upkeep: Upkeep) {
            let state = SiteState {
                online,
                connection: 1,
                agent_version: "0.1.0".into(),
                policy: None,
                upkeep,
                outbox: OutboxId::from_bytes([1; 16]),
                backlog: [0; 3],
                holds_s: None,
                clock: ClockQuality::Synchronised,
                clock_evidence: String::new(),
                at: NOW,
                uptime: None,
            };
            let site = SiteId::new(site).unwrap();
            let state = Delivery::State { site, bytes: state.encode(), retained: false };
            let rules = self.rules.clone();
            let take = move |transaction: &Transaction<'_>| {
                intake::take(transaction, &[state], NOW, &rules).map(drop)
            };
            self.store.write(take).await.unwrap();
        }

        /// A person takes a box out of service for a reason, or puts it back.
        async fn serve(&self, site: &str, out: Option<&'static str>) {
            let (site, rules) = (SiteId::new(site).unwrap(), self.rules.clone());
            let serve = move |transaction: &Transaction<'_>| {
                let context = Context { connection: transaction, rules: &rules, now: NOW };
                let mut evaluation = Evaluation::default();
                let engine = evaluation.engine(transaction, &site, &Subject::Box)?;
                let own = DeviceId::from(&site);
                let changed = match out {
                    Some(why) => engine.take_out_of_service(&own, "sun", why, None, NOW),
                    None => engine.put_back_in_service(&own, "sun", NOW),
                };
                evaluation.note(changed.unwrap());
                alerts::store(context, evaluation).map(drop)
            };
            self.store.write(serve).await.unwrap();
        }

        /// So many days later, with so much here: box, rule, value and state of what changed.
        async fn look(&self, days: i64, own: Upkeep) -> Vec<[String; 4]> {
            let (rules, now) = (self.rules.clone(), days_later(days));
            let judged = self.store.write(move |transaction| {
                judge(Context { connection: transaction, rules: &rules, now }, own)
            });
            let told = judged.await.unwrap().into_iter().map(|alert| {
                assert_eq!((&alert["site"], &alert["priority"]), (&"county".into(), &"low".into()));
                let words =
                    [&alert["device"], &alert["rules"][0], &alert["value"], &alert["state"]];
                words.map(|word| word.as_str().unwrap().to_owned())
            });
            let mut told: Vec<_> = told.collect();
            told.sort();
            told
        }
    }

    fn days_later(days: i64) -> WallTime {
        WallTime::from_unix_ms(NOW.unix_ms() + days * 86_400_000)
    }

    fn upkeep(free_pct: u8, days: i64) -> Upkeep {
        Upkeep { free_pct: Some(free_pct), certificate_until: Some(days_later(days)) }
    }

    fn told(device: &str, rule: &str, value: &str, state: &str) -> [String; 4] {
        [device, rule, value, state].map(str::to_owned)
    }

    #[tokio::test]
    async fn what_boxes_say_and_what_is_so_here_is_judged_by_the_clock_of_the_county() {
        let county = County::new();
        county.hear("heping", upkeep(50, 20)).await;
        // A box of before.
        county.hear("dongfeng", Upkeep::default()).await;
        assert!(county.look(0, upkeep(80, 800)).await.is_empty());
        assert!(county.look(6, upkeep(80, 800)).await.is_empty());
        // Nothing was heard of the box since: its certificate runs out all the same.
        let raised = "active_unack";
        assert_eq!(
            county.look(7, upkeep(80, 800)).await,
            [told("heping", "TECH-CERT", "13", raised)]
        );
        assert!(county.look(7, upkeep(80, 800)).await.is_empty(), "it is told once");

        county.hear("heping", upkeep(9, 20)).await;
        let both = [
            told("county", "TECH-STORAGE", "4", raised),
            told("heping", "TECH-CERT", "12", raised),
            told("heping", "TECH-STORAGE", "9", raised),
        ];
        assert_eq!(county.look(8, upkeep(4, 800)).await, both);

        county.hear("heping", upkeep(30, 825)).await;
        let over = [
            told("county", "TECH-STORAGE", "4", "closed"),
            told("heping", "TECH-CERT", "12", "closed"),
            told("heping", "TECH-STORAGE", "9", "closed"),
        ];
        assert_eq!(county.look(8, upkeep(50, 800)).await, over);
    }

    #[tokio::test]
    async fn a_box_that_somebody_took_out_of_service_needs_no_upkeep_until_it_is_back() {
        let county = County::new();
        let ours = upkeep(80, 800);
        county.hear("heping", upkeep(8, 12)).await;
        let raised = [
            told("heping", "TECH-CERT", "12", "active_unack"),
            told("heping", "TECH-STORAGE", "8", "active_unack"),
        ];
        assert_eq!(county.look(0, ours).await, raised);
        county.serve("heping", Some("moved to another clinic")).await;
        let over = [
            told("heping", "TECH-CERT", "12", "closed"),
            told("heping", "TECH-STORAGE", "8", "closed"),
        ];
        assert_eq!(county.look(0, ours).await, over);
        let why = county.store.read(|connection| {
            connection.query_row(
                "SELECT count(*) FROM alert
                 WHERE json_extract(body, '$.timeline[#-1].detail') = 'moved to another clinic'",
                [],
                |row| row.get::<_, i64>(0),
            )
        });
        assert_eq!(why.await.unwrap(), 2);
        assert!(county.look(1, ours).await.is_empty(), "it ends once");
        county.serve("heping", None).await;
        assert_eq!(county.look(1, ours).await.len(), 2);
    }

    #[tokio::test]
    async fn what_is_to_be_done_at_one_box_somebody_has_in_hand() {
        let county = County::new();
        for site in ["heping", "dongfeng"] {
            county.hear(site, upkeep(8, 800)).await;
        }
        assert_eq!(county.look(0, upkeep(80, 800)).await.len(), 2);
        let of = |site: &'static str| {
            county.store.read(move |connection| {
                let of = "SELECT id FROM alert WHERE device = ?1";
                connection.query_row(of, [site], |row| row.get::<_, String>(0))
            })
        };
        let (reason, note) = (AckReason::Rechecking, String::new());
        let in_hand = || Deed::Alert(Action::Acknowledge { reason, note: note.clone() });
        let out = Service::Out { reason: "moved".into(), until: None };
        for (site, deed, state) in [
            ("heping", in_hand(), Some("active_ack")),
            ("dongfeng", in_hand(), Some("active_ack")),
            // What the county keeps for a box is no device.
            ("heping", Deed::Service(out), None),
        ] {
            let id = AlertId::from_hex(&of(site).await.unwrap()).unwrap();
            let rules = Arc::new(county.rules.clone());
            let done = act::act(&county.store, rules, id, "sun".to_owned(), deed, NOW).await;
            let done =
                done.unwrap().ok().map(|done| (done.alert["state"].clone(), done.changed.len()));
            assert_eq!(done, state.map(|state| (state.into(), 1)), "{site}");
        }
    }

    #[tokio::test]
    async fn a_will_from_when_there_was_room_ends_no_alert_and_raises_none() {
        let county = County::new();
        let ours = upkeep(80, 800);
        county.hear("heping", upkeep(8, 12)).await;
        let both = [
            told("heping", "TECH-CERT", "12", "active_unack"),
            told("heping", "TECH-STORAGE", "8", "active_unack"),
        ];
        assert_eq!(county.look(0, ours).await, both);
        county.hear_state("heping", false, upkeep(50, 800)).await;
        assert!(county.look(0, ours).await.is_empty(), "nobody has mended it");

        county.hear("heping", upkeep(50, 800)).await;
        assert_eq!(county.look(0, ours).await.len(), 2);
        county.hear_state("heping", false, upkeep(8, 12)).await;
        assert!(county.look(0, ours).await.is_empty(), "it was mended since");
    }
}
