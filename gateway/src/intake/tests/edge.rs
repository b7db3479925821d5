//! What alerts became at a box is kept as told, once, with the time for which it was reported.

use super::*;
use model::{alarm::Priority, alert::EdgeAlert};

/// An alert of a box that was alone, `ago_ms` before now; it began ten minutes before.
pub(super) fn changed(what: &str, state: &str, ago_ms: i64) -> Record {
    let alert = EdgeAlert {
        id: [0xab; 16],
        subject: "mon-01".into(),
        device: DeviceId::new("mon-01").unwrap(),
        family: "spo2_low".into(),
        rules: vec!["SPO2-AD-LL".into()],
        priority: Priority::High,
        state: state.into(),
        metric: Some(Metric::SPO2),
        value: Some("84".into()),
        comparator: None,
        unit: Some("%".into()),
        limit: Some("< 85".into()),
        message_zh: "血氧饱和度过低".into(),
        message_en: "SpO2 very low".into(),
        started_at: observed(600_000).at,
        cleared_at: (state == "closed").then(|| observed(ago_ms).at),
        what: what.into(),
        by: (what == "acknowledged").then(|| "王护士".into()),
        reason: (what == "acknowledged").then(|| "at_bedside".into()),
        note: String::new(),
        rule_set: 3,
        bindings: 12,
        observed: observed(ago_ms),
        latched: false,
    };
    Record::Alert(Box::new(alert))
}

const PERIOD: &str = "SELECT alert || ' ' || device || ' ' || family || ' ' || from_ms || ' '
    || ifnull(until_ms, 'goes on') FROM edge_period";

#[test]
fn what_became_of_an_alert_at_a_box_is_kept_as_told_and_once() {
    let mut county = County::new();
    let changes = vec![
        changed("raised", "active_unack", 590_000),
        changed("acknowledged", "active_ack", 500_000),
    ];
    let first = envelope(Lane::Urgent, 1, changes);
    county.take(std::slice::from_ref(&first));
    county.take(&[first]);
    let told = county.texts(
        "SELECT what || ' ' || json_extract(body, '$.state') || ' '
           || ifnull(json_extract(body, '$.by'), '-') FROM edge_alert ORDER BY id",
    );
    assert_eq!(told, ["raised active_unack -", "acknowledged active_ack 王护士"]);
    let (id, from) = ("ab".repeat(16), observed(600_000).at.unix_ms());
    assert_eq!(county.texts(PERIOD), [format!("{id} mon-01 spo2_low {from} goes on")]);

    let over = changed("closed", "closed", 60_000);
    county.take(&[envelope(Lane::Urgent, 2, vec![over])]);
    let until = observed(60_000).at.unix_ms();
    assert_eq!(county.texts(PERIOD), [format!("{id} mon-01 spo2_low {from} {until}")]);
    assert_eq!(county.count("edge_alert"), 3);
}

#[test]
fn what_a_person_did_at_a_box_is_one_entry_of_the_chain_however_often_it_is_told() {
    let mut county = County::new();
    let acts = "SELECT body ->> 6 FROM audit WHERE body ->> 4 = 'edge_alert'";
    let told = |ago_ms| changed("acknowledged", "active_ack", ago_ms);
    county.take(&[envelope(Lane::Urgent, 1, vec![told(500_000)])]);
    assert_eq!(county.texts(acts).len(), 1);
    // The agent was killed, or the alert came back: it is in another envelope.
    county.take(&[envelope(Lane::Urgent, 2, vec![told(500_000)])]);
    assert_eq!(county.texts(acts).len(), 1);
    // What they do later is another act.
    county.take(&[envelope(Lane::Urgent, 3, vec![told(400_000)])]);
    assert_eq!(county.texts(acts).len(), 2);
}

/// Nobody at a box is told to leave the name out, and what comes from there is read by roles that see
/// masked names.
#[test]
fn a_note_of_a_box_that_names_the_patient_is_left_out_and_nothing_else() {
    const LEFT_OUT: &str = "ready.name_left_out";
    // Bound at the box only; at both; here only; on nobody.
    for (subject, is_bound, note, kept) in [
        ("p-1", false, "给测试 甲乙吸氧", LEFT_OUT),
        ("p-1", true, "给测试甲乙吸氧", LEFT_OUT),
        ("mon-01", true, "给测试甲乙吸氧", LEFT_OUT),
        ("mon-01", false, "给测试甲乙吸氧", LEFT_OUT),
        ("mon-01", false, "肌张力高", LEFT_OUT),
        // Of one patient it is known that the word is no name.
        ("p-1", false, "肌张力高", "肌张力高"),
        ("mon-01", true, "肌张力高", "肌张力高"),
        ("mon-01", false, "已吸氧", "已吸氧"),
    ] {
        let mut county = County::new();
        county
            .connection
            .execute_batch(
                r#"INSERT INTO township VALUES ('heping', '和平镇卫生院');
                INSERT INTO patient VALUES
                  ('p-1', '和平镇卫生院', '{"clinic": "和平镇卫生院"}', NULL, 1, 'wang', 0),
                  ('p-2', '和平镇卫生院', '{"clinic": "和平镇卫生院"}', NULL, 1, 'wang', 0);
                INSERT INTO patient_name VALUES ('p-1', '测试甲乙'), ('p-2', '张力');"#,
            )
            .unwrap();
        if is_bound {
            let bind = "INSERT INTO binding
                  (site, device, patient, from_ms, version, made_by, made_ms, reason)
                VALUES ('heping', 'mon-01', 'p-1', 0, 1, 'wang', 0, 'put on')";
            county.connection.execute_batch(bind).unwrap();
        }
        let told = |what, state, ago_ms| {
            let Record::Alert(mut alert) = changed(what, state, ago_ms) else { unreachable!() };
            alert.subject = subject.into();
            if alert.by.is_some() {
                alert.note = note.into();
            }
            Record::Alert(alert)
        };
        let story = vec![
            told("raised", "active_unack", 590_000),
            told("acknowledged", "active_ack", 500_000),
        ];
        county.take(&[envelope(Lane::Urgent, 1, story.clone())]);
        // The box was killed, and says it again.
        county.take(&[envelope(Lane::Urgent, 2, story)]);
        let about = format!("{subject} {is_bound} {note}");
        let as_told =
            "SELECT body ->> 'by' || ' ' || (body ->> 'reason') || ' ' || (body ->> 'note')
            FROM edge_alert WHERE what = 'acknowledged'";
        let said = format!("王护士 at_bedside {kept}");
        assert_eq!(county.texts(as_told), [said.clone(), said.clone()], "{about}");
        let in_story = "SELECT (it.value ->> 'by') || ' ' || (it.value ->> 'reason') || ' '
              || (it.value ->> 'note')
            FROM alert, json_each(alert.body, '$.timeline') AS it
            WHERE it.value ->> 'what' = 'acknowledged'";
        // What the box took for another's is judged here.
        let is_taken = is_bound == (subject == "p-1");
        let told = Vec::from_iter(is_taken.then_some(said));
        assert_eq!(county.texts(in_story), told, "{about}");
        let named = "SELECT body FROM (SELECT body FROM alert UNION ALL SELECT body FROM edge_alert
              UNION ALL SELECT body FROM audit)
            WHERE instr(body, '甲乙') > 0 OR (instr(body, '肌张力') > 0 AND instr(body, 'ready.'))";
        assert_eq!(county.texts(named), Vec::<String>::new(), "{about}");
    }
}
