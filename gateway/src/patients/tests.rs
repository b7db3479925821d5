//! What is kept of patients, and what is not.

pub(crate) mod desk;

use super::{
    about::{About, Pregnancy, Scale2, Sex},
    tray::{TrayFilter, WAITING_MAX},
    *,
};
use crate::{
    code::Code,
    people::{self, Role},
    store::Store,
};
use desk::{CLINIC, clinics, wang};
use model::id::SiteId;
use std::{fs, path::Path};
use tempfile::TempDir;

const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
const NAME: &str = "测试甲乙";

fn county() -> (Connection, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Store::connection(&folder.path().join("county.sqlite")).unwrap(), folder)
}

fn rules() -> RuleSet {
    RuleSet::from_json(include_str!("../../../configs/rules/default.json")).unwrap()
}

fn body(fields: Value) -> Body {
    fields.as_object().unwrap().clone()
}

fn about() -> About {
    About { clinic: CLINIC.to_owned(), ..About::default() }
}

#[track_caller]
fn check_mistake(about: &About, begin: Option<&str>) {
    let mistakes = about.mistakes(None, &clinics(), NOW);
    assert_eq!(mistakes.len(), usize::from(begin.is_some()), "{mistakes:?}");
    assert!(
        mistakes.iter().all(|text| text.starts_with(begin.unwrap_or_default())),
        "{mistakes:?}"
    );
}

#[test]
fn what_cannot_be_meant_is_told_with_what_to_write_instead() {
    let born = |born: &str| About { born: Some(born.to_owned()), ..about() };
    for (good, month) in [(true, "1956-03"), (true, "2026-11-20"), (false, "56-03"), (false, "")] {
        check_mistake(&born(month), (!good).then_some("born: "));
    }
    for wrong in ["2026-12-01", "2026-11-23", "1890-01", "2026-02-30", "2026-11-22T08:00"] {
        check_mistake(&born(wrong), Some("born: "));
    }
    check_mistake(&About::default(), Some("clinic: use one of gateway.toml: 和平镇卫生院"));
    let pregnant = |registered: &str, delivered: Option<&str>| {
        let (registered, delivered) = (registered.to_owned(), delivered.map(str::to_owned));
        Some(Pregnancy { registered, delivered })
    };
    let with = |pregnancy| About { pregnancy, ..born("1998-03") };
    check_mistake(&with(pregnant("2026-05-01", None)), None);
    check_mistake(&with(pregnant("2026-05-01", Some("2026-11-20"))), None);
    check_mistake(&with(pregnant("2026-11-23", None)), Some("pregnancy: registered"));
    check_mistake(&with(pregnant("2026-05-01", Some("2026-04-30"))), Some("pregnancy: delivered"));
    check_mistake(&with(pregnant("2026-05-01", Some("2026-11-24"))), Some("pregnancy: delivered"));
    let male = About { sex: Sex::Male, ..with(pregnant("2026-05-01", None)) };
    check_mistake(&male, Some("pregnancy: the sex"));
    let order = |until: &str| Some(Scale2 { doctor: "li".to_owned(), until: until.to_owned() });
    let good = order("2026-12-01T00:00:00Z");
    check_mistake(&About { scale2: good.clone(), ..born("1956-03") }, None);
    check_mistake(
        &About { scale2: order("2026-11-01T00:00:00Z"), ..about() },
        Some("scale2: until"),
    );
    let in_days = |days: i64| rfc3339(NOW.unix_ms() + days * 24 * 3_600_000);
    check_mistake(&About { scale2: order(&in_days(366)), ..about() }, None);
    check_mistake(&About { scale2: order(&in_days(367)), ..about() }, Some("scale2: until"));
    check_mistake(&About { scale2: good.clone(), ..born("2009-03") }, Some("scale2: not below 18"));
    let both = About { scale2: good, ..with(pregnant("2026-05-01", None)) };
    check_mistake(&both, Some("scale2: not below 18"));
    check_mistake(&About { bed: Some("床\n3".to_owned()), ..about() }, Some("bed: "));
    check_mistake(
        &About { appointment: Some("soon".to_owned()), ..about() },
        Some("appointment: "),
    );
}

#[test]
fn what_time_made_of_what_was_known_is_in_the_way_of_no_change() {
    let (connection, _folder) = county();
    people::add_person(&connection, "li", Role::Doctor, "correct horse").unwrap();
    let day_ms = 24 * 3_600_000;
    let later = |days: i64| WallTime::from_unix_ms(NOW.unix_ms() + days * day_ms);
    let order = |until: WallTime| json!({"doctor": "li", "until": rfc3339(until.unix_ms())});
    let fields = json!({"clinic": CLINIC, "scale2": order(later(1)), "bed": "3"});
    let told = add(&connection, &clinics(), body(fields), &wang(), NOW).unwrap();
    let key = told["patient"].as_str().unwrap();
    let elsewhere: Clinics = [(SiteId::new("dongfeng").unwrap(), "东风镇卫生院".to_owned())].into();
    let mut version = 1;
    let mut try_it = |clinics: &Clinics, fields: Value, at: WallTime| {
        let mut fields = body(fields);
        fields.insert("version".to_owned(), json!(version));
        let told = change(&connection, &rules(), clinics, key, fields, &wang(), at).map(drop);
        version += i64::from(told.is_ok());
        told.map_err(|refused| match refused {
            Refused::Wrong(text) => text,
            other => panic!("{other:?}"),
        })
    };
    // While it holds, an order and a pregnancy do not go together.
    let pregnant = json!({"pregnancy": {"registered": "2026-05-01"}});
    assert!(try_it(&clinics(), pregnant.clone(), NOW).unwrap_err().starts_with("scale2: not"));
    // The order has run out, and the clinic is taken out of the configuration.
    for clinics in [&clinics(), &elsewhere] {
        assert_eq!(try_it(clinics, json!({"bed": "5"}), later(2)), Ok(()));
        assert_eq!(try_it(clinics, json!({"scale2": order(later(1))}), later(2)), Ok(()));
    }
    assert_eq!(try_it(&clinics(), pregnant, later(2)), Ok(()));
    // Another one that is over already is a mistake as ever, and so is a clinic that is none.
    let over = json!({"pregnancy": null, "scale2": order(NOW)});
    assert!(try_it(&clinics(), over, later(2)).unwrap_err().starts_with("scale2: until"));
    let nowhere = json!({"clinic": "西山镇卫生院"});
    assert!(try_it(&elsewhere, nowhere, later(2)).unwrap_err().starts_with("clinic: "));
    let home = json!({"discharged": true, "reason": "went home"});
    assert_eq!(try_it(&elsewhere, home, later(2)), Ok(()));
}

/// Orders were taken until 2099 before.
#[test]
fn an_order_of_before_ends_a_year_after_the_change_that_may_have_brought_it() {
    let (connection, _folder) = county();
    let fields = json!({"clinic": CLINIC, "born": "1956-03"});
    let told = add(&connection, &clinics(), body(fields), &wang(), NOW).unwrap();
    let key = told["patient"].as_str().unwrap();
    let order = json!({"doctor": "x", "until": "2099-01-01T00:00:00Z"});
    let set = "UPDATE patient SET about = json_set(about, '$.scale2', json(?1))";
    connection.execute(set, [order.to_string()]).unwrap();
    let end = NOW.unix_ms() + HOLDS_MAX_MS;
    let check = |at: WallTime| {
        let told = one(&connection, &rules(), &Scope::County, key, at).unwrap();
        assert_eq!(told["scale2"], json!({"doctor": "x", "until": rfc3339(end)}));
        let profile = profile::profile(&connection, &find(&connection, key).unwrap(), at).unwrap();
        assert_eq!(profile.scale2_until, Some(WallTime::from_unix_ms(end)));
        let holds = at < WallTime::from_unix_ms(end);
        assert_eq!(profile.has_rule(&rules(), "SPO2-COPD-L", at), holds);
    };
    check(NOW);
    let change = |fields: Value, at: WallTime| {
        change(&connection, &rules(), &clinics(), key, body(fields), &wang(), at).map(drop)
    };
    // Other changes do not make it longer, nor does who sends the old end back.
    let later = WallTime::from_unix_ms(NOW.unix_ms() + 30 * 24 * 3_600_000);
    change(json!({"version": 1, "bed": "5"}), later).unwrap();
    check(later);
    let refused = change(json!({"version": 2, "scale2": order}), later);
    assert!(matches!(refused, Err(Refused::Wrong(_))), "{refused:?}");
    check(WallTime::from_unix_ms(end));
}

#[test]
fn pregnancy_ends_six_weeks_after_the_birth() {
    let today = |day: &str| day.parse().unwrap();
    let pregnancy =
        Pregnancy { registered: "2026-05-01".to_owned(), delivered: Some("2026-10-11".to_owned()) };
    let about = About { pregnancy: Some(pregnancy), ..about() };
    for (day, expected) in
        [("2026-04-30", false), ("2026-05-01", true), ("2026-11-21", true), ("2026-11-22", false)]
    {
        assert_eq!(about.is_pregnant(today(day)), expected, "{day}");
    }
}

#[test]
fn texts_that_tell_who_somebody_is_are_refused() {
    let (connection, _folder) = county();
    let told =
        add(&connection, &clinics(), body(json!({"clinic": CLINIC, "name": NAME})), &wang(), NOW);
    let key = told.unwrap()["patient"].as_str().unwrap().to_owned();
    let patient = find(&connection, &key).unwrap();
    let reason = |text| reason_of(&connection, text, Concerned::Patients(&[&patient]));
    assert_eq!(reason(Some(" moved to bed 12 ")).unwrap(), "moved to bed 12");
    let long = "x".repeat(201);
    let named = format!("{NAME} was moved");
    let identity = "is 110101199003074233";
    for wrong in [None, Some(""), Some("a\nb"), Some(&long), Some(identity)] {
        let refused = reason(wrong);
        assert!(matches!(refused, Err(Refused::Because(Code::Reason, _))), "{wrong:?}");
    }
    assert!(matches!(reason(Some(&named)), Err(Refused::Named(_))));
    let of_clinic = Concerned::Clinic(Some(CLINIC));
    assert!(matches!(reason_of(&connection, Some(&named), of_clinic), Err(Refused::Named(_))));
    for wrong in ["甲", "测试1", "110101199003074233", "测试\n甲", " 测试甲", &"甲".repeat(41)]
    {
        let fields = body(json!({"clinic": CLINIC, "name": wrong}));
        let refused = add(&connection, &clinics(), fields, &wang(), NOW);
        assert!(
            matches!(refused, Err(Refused::Wrong(text)) if text.starts_with("name: ")),
            "{wrong}"
        );
    }
    assert_eq!(format!("{:?}", patient.name), "Some(‹private›)");
}

/// Whether a text is in any file of the folder.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    let contains = |bytes: Vec<u8>| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    fs::read_dir(folder).unwrap().any(|file| contains(fs::read(file.unwrap().path()).unwrap()))
}

#[test]
fn an_erased_name_is_gone_from_the_disk() {
    let (connection, folder) = county();
    let fields = json!({"clinic": CLINIC, "name": NAME, "bed": "3"});
    let told = add(&connection, &clinics(), body(fields), &wang(), NOW).unwrap();
    assert_eq!(told["name"], "测**");
    assert!(is_on_disk(folder.path(), NAME));
    let key = told["patient"].as_str().unwrap();
    let erased = json!({"name": null, "version": 1});
    let Changed { told, .. } =
        change(&connection, &rules(), &clinics(), key, body(erased), &wang(), NOW).unwrap();
    assert_eq!(
        (&told["name"], &told["bed"], &told["version"]),
        (&json!(null), &json!("3"), &json!(2))
    );
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(!is_on_disk(folder.path(), NAME));
}

#[test]
fn who_is_known_by_age_only_was_born_so_many_months_ago() {
    let (connection, _folder) = county();
    let fields = json!({"clinic": CLINIC, "age_months": 846});
    let told = add(&connection, &clinics(), body(fields), &wang(), NOW).unwrap();
    assert_eq!(told["groups"], json!(["elderly"]));
    assert!(told["born"].as_str().unwrap().starts_with("1956-05"), "{told}");
    for wrong in [json!(-1), json!(2000), json!("70"), json!(1.5)] {
        let fields = json!({"clinic": CLINIC, "age_months": wrong});
        let refused = add(&connection, &clinics(), body(fields), &wang(), NOW);
        assert!(matches!(refused, Err(Refused::Wrong(_))), "{wrong}");
    }
}

#[test]
fn results_of_a_county_of_before_wait_for_their_patients() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("county.sqlite");
    let old = Connection::open(&path).unwrap();
    for step in [
        include_str!("../../migrations/0001_county.sql"),
        include_str!("../../migrations/0002_evidence.sql"),
        include_str!("../../migrations/0003_reading_groups.sql"),
        include_str!("../../migrations/0004_clocks.sql"),
    ] {
        old.execute_batch(step).unwrap();
    }
    old.execute_batch(
        "INSERT INTO source VALUES (1, 'heping', 'bp-01');
         INSERT INTO outbox_lane VALUES (1, 'heping', '07', 'urgent'), (2, 'heping', '07', 'trend');
         INSERT INTO metric_list VALUES (1, 'nibp_sys'), (2, 'hr'), (3, 'glu_control');
         INSERT INTO reading_group (id, source, outbox_lane, seq, idx, channel, metric_list, said,
           observed_ms, received_ms, measured_ms, time_suspect)
         VALUES (1, 1, 1, 1, 0, '', 1, '[\"120\"]', 5, 5, 5, 0),
           (2, 1, 2, 1, 0, '', 2, '[\"72\"]', 5, 5, 5, 0),
           (3, 1, 1, 2, 0, '', 3, '[\"2.0\"]', 5, 5, 5, 0);
         PRAGMA user_version = 4;",
    )
    .unwrap();
    drop(old);
    let connection = Store::connection(&path).unwrap();
    let ask = |clinic: Option<&str>| {
        let (clinic, scope) = (clinic.map(ToOwned::to_owned), Scope::County);
        let filter = TrayFilter { clinic, before: None, limit: WAITING_MAX, scope };
        tray::tray(&connection, &clinics(), &filter).unwrap()
    };
    let tray = ask(Some(CLINIC));
    let waiting = tray["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "{tray}");
    assert_eq!(waiting[0]["readings"][0]["metric"], "nibp_sys");
    assert_eq!(waiting[0]["readings"][0]["patient"], json!(null));
    // What retention removes waits no more.
    connection.execute("DELETE FROM reading_group WHERE id = 1", []).unwrap();
    assert_eq!(ask(None)["waiting"], json!([]));
}

#[test]
fn of_those_who_are_here_it_is_told_when_they_were_measured_last() {
    let (connection, _folder) = county();
    let add = |name: Option<&str>| {
        let body = body(json!({"clinic": CLINIC, "name": name}));
        let told = add(&connection, &clinics(), body, &wang(), NOW).unwrap();
        told["patient"].as_str().unwrap().to_owned()
    };
    let (seen, never) = (add(None), add(None));
    connection
        .execute_batch(&format!(
            "INSERT INTO source VALUES (1, 'heping', 'bp-01');
             INSERT INTO outbox_lane VALUES (1, 'heping', '07', 'urgent');
             INSERT INTO metric_list VALUES (1, 'nibp_sys');
             INSERT INTO reading_group (id, source, outbox_lane, seq, idx, channel, metric_list,
               said, observed_ms, received_ms, measured_ms, time_suspect)
             VALUES (1, 1, 1, 1, 0, '', 1, '[\"120\"]', 5, 5, 60000, 0),
               (2, 1, 1, 2, 0, '', 1, '[\"118\"]', 5, 5, 1000, 0);
             INSERT INTO spot (reading_group, outbox_lane, seq, idx, site, patient)
             VALUES (1, 1, 1, 0, 'heping', '{seen}'), (2, 1, 2, 0, 'heping', '{seen}');"
        ))
        .unwrap();
    let rules = rules();
    let ask = |here| {
        let filter = PatientFilter { here, ..PatientFilter::default() };
        list(&connection, &rules, &filter, NOW).unwrap()["patients"].as_array().unwrap().clone()
    };
    // The newest that came was measured before the other.
    let here = ask(true);
    assert_eq!(here.len(), 1, "{here:?}");
    assert_eq!(here[0]["patient"], seen);
    assert_eq!(here[0]["last_result_at"], "1970-01-01T00:01:00.000Z");
    let all = ask(false);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|one| one.get("last_result_at").is_none()), "{all:?} {never}");
}

/// Two sites of which the one has a hundred thousand results that wait, the other a few old ones.
fn crowded() -> (Connection, TempDir) {
    let (connection, folder) = county();
    connection
        .execute_batch(
            "INSERT INTO source VALUES (1, 'heping', 'bp-01'), (2, 'dongfeng', 'bp-01');
             INSERT INTO outbox_lane VALUES (1, 'heping', '07', 'urgent'),
               (2, 'dongfeng', '08', 'urgent');
             INSERT INTO metric_list VALUES (1, 'nibp_sys');
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 100000)
             INSERT INTO reading_group (id, source, outbox_lane, seq, idx, channel, metric_list,
               said, observed_ms, received_ms, measured_ms, time_suspect)
             SELECT n, 1 + (n <= 7), 1 + (n <= 7), n, 0, '', 1, '[\"120\"]', n, n, n, 0 FROM n;
             INSERT INTO spot (reading_group, outbox_lane, seq, idx, site)
             SELECT reading_group.id, outbox_lane, seq, idx, site FROM reading_group
             JOIN outbox_lane ON outbox_lane.id = outbox_lane;",
        )
        .unwrap();
    (connection, folder)
}

#[test]
fn the_tray_looks_at_what_it_shows_and_not_at_all_that_waits() {
    let (connection, _folder) = crowded();
    let clinics: Clinics = [("heping", CLINIC), ("dongfeng", "东风镇卫生院")]
        .map(|(site, clinic)| (SiteId::new(site).unwrap(), clinic.to_owned()))
        .into();
    let dongfeng = Scope::of_clinics(["东风镇卫生院".to_owned()].into(), &clinics);
    for (clinic, scope, page, all) in [
        (None, Scope::County, 50, 100_000),
        (Some(CLINIC), Scope::County, 50, 99_993),
        (Some("东风镇卫生院"), Scope::County, 3, 7),
        (None, dongfeng, 3, 7),
    ] {
        let clinic = clinic.map(ToOwned::to_owned);
        let mut filter = TrayFilter { clinic, before: None, limit: page, scope };
        let mut seen = Vec::new();
        for _ in 0..3 {
            let told = tray::tray(&connection, &clinics, &filter).unwrap();
            let waiting = told["waiting"].as_array().unwrap();
            seen.extend(waiting.iter().map(|one| one["readings"][0]["seq"].as_i64().unwrap()));
            let next = told["next_cursor"].as_str().map(|next| next.parse().unwrap());
            filter.before = next.or(Some(0));
        }
        let newest = if all == 7 { 7 } else { 100_000 };
        let count = i64::try_from(page * 3).unwrap().min(all);
        let expected: Vec<i64> = (newest - count + 1..=newest).rev().collect();
        assert_eq!(seen, expected);
    }
    // Fifty of a hundred thousand; to walk over all of them takes a million steps.
    assert!(steps_of(&connection, tray::WAITING, params![i64::MAX, 50]) < 5000);
    for site in ["heping", "dongfeng"] {
        let asked = params![i64::MAX, 50, site];
        assert!(steps_of(&connection, tray::WAITING_AT, asked) < 5000, "{site}");
    }
}

/// Steps of SQLite's machine for an answer.
fn steps_of(connection: &Connection, query: &str, asked: &[&dyn rusqlite::ToSql]) -> i32 {
    let mut statement = connection.prepare(query).unwrap();
    let mut rows = statement.query(asked).unwrap();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}
