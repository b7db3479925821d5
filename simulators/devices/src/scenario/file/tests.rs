//! What is refused, with its line, and what the shipped scenarios are.

use super::*;

/// A story of ten minutes with these events, and what is said of it.
fn story(events: &str) -> Result<Scenario, String> {
    let head = "about = { zh = \"\u{6d4b}\u{8bd5}\", en = \"test\" }\nlength = \"00:10:00\"\n";
    Scenario::parse(&format!("{head}{events}")).map_err(|error| error.to_string())
}

#[track_caller]
fn check_refused(events: &str, said: &[&str]) {
    let error = story(events).unwrap_err();
    for part in said {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn every_shipped_scenario_is_one_and_tells_what_it_is_in_both_languages() {
    for (name, text) in Scenario::SHIPPED {
        let scenario = Scenario::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let Text { zh, en } = &scenario.about;
        assert!(!zh.is_ascii() && en.is_ascii() && !en.is_empty(), "{name}");
    }
}

#[test]
fn the_example_of_the_readme_is_a_scenario() {
    let text = include_str!("../../../README.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let scenario = Scenario::parse(example.unwrap()).unwrap();
    assert!(scenario.infusion.is_some() && !scenario.measures.is_empty());
}

#[test]
fn what_happens_is_put_where_devices_look_for_it() {
    let told = story(
        r#"
        [[event]]
        at = "00:00:10"
        what = "unplugged"
        lasts = "00:01:00"
        [[event]]
        at = "00:02:00"
        what = "off"
        lasts = "00:00:30"
        [[event]]
        at = "00:03:00"
        rhythm = "atrial_fibrillation"
        [[event]]
        at = "00:04:00"
        what = "ectopic_beats"
        code = 12
        lasts = "00:01:00"
        [[event]]
        at = "00:05:00"
        rhythm = "sinus"
        [[event]]
        at = "00:06:00"
        measure = "kiosk"
        "#,
    )
    .unwrap();
    assert!(told.is_unplugged(10) && told.is_unplugged(69) && !told.is_unplugged(70));
    assert!(told.is_switched_off(120) && !told.is_switched_off(150));
    let rhythms = [179, 180, 299, 300].map(|second| told.rhythm(second));
    let (sinus, fibrillation) = (Rhythm::Sinus, Rhythm::AtrialFibrillation);
    assert_eq!(rhythms, [sinus, fibrillation, fibrillation, sinus]);
    assert_eq!((told.ectopic_beats(240), told.ectopic_beats(300)), (12, 0));
    assert_eq!(told.measures, [(360, Measure::Kiosk)]);
}

#[test]
fn what_no_device_can_say_is_refused() {
    let what = |what: &str| format!("[[event]]\nat = \"00:00:10\"\n{what}");
    let lasting = |text: &str| what(&format!("{text}\nlasts = \"00:00:10\""));
    check_refused(&lasting("what = \"oximeter\"\ncode = 200"), &["code: from 2 to 4"]);
    check_refused(&lasting("what = \"temperature_off\"\ncode = 77"), &["code: from 1 to 3"]);
    let short = what("what = \"leads_off\"\nlasts = \"00:00:00\"");
    check_refused(&short, &["lasts: what happens takes a second"]);
    check_refused(&what("measure = \"kiosk\"\nfailed = 255"), &["E-code has two digits"]);
    let rising = what("measure = \"kiosk\"\npressure = [40, 250, 200]\npulse = 70");
    check_refused(&rising, &["from high to low"]);
    check_refused(&what("meal = 65535"), &["from 1 to 500 g"]);
    let dose = what("insulin = { units = 65535, kind = \"rapid\" }");
    check_refused(&dose, &["from 1 to 100 units"]);
    check_refused("[station]\npumps = 200", &["up to 3 pumps"]);
}

#[test]
fn a_pump_is_told_exactly() {
    let told = story(
        r#"
        [infusion]
        drug = { zh = "去甲肾上腺素", en = "NORADRENALINE" }
        syringe = 50
        rate = 4.5
        [[event]]
        at = "00:01:00"
        pump = { rate = 6.0 }
        [[event]]
        at = "00:02:00"
        pump = { bolus = 0.5 }
        over = "00:00:06"
        [[event]]
        at = "00:05:00"
        pump = { syringe = 20.0 }
        "#,
    );
    let infusion = told.unwrap().infusion.unwrap();
    let rate = |second| infusion.step(second).map(|step| (step.rate, step.is_bolus));
    assert_eq!(rate(59), Some((450, false)));
    assert_eq!(rate(60), Some((600, false)));
    // 0.5 ml in 6 s.
    assert_eq!((rate(120), rate(125)), (Some((30_000, true)), Some((30_000, true))));
    assert_eq!(rate(126), Some((600, false)));
    assert_eq!((infusion.volume(299), infusion.volume(300)), (5_000, 2_000));
    assert!(infusion.is_new(0) && infusion.is_new(300) && !infusion.is_new(301));
}

#[test]
fn all_mistakes_are_told_with_their_lines() {
    check_refused(
        r#"
        [[event]]
        at = "00:11:00"
        meal = 40
        [[event]]
        at = "00:09:50"
        what = "leads_off"
        lasts = "00:00:30"
        "#,
        &["line 4: this is at or after the end", "line 7: lasts: this goes on after the end"],
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_do() {
    let event = |lines: &str| format!("[[event]]\nat = \"00:01:00\"\n{lines}\n");
    for (lines, said) in [
        ("", "exactly one of set, what"),
        ("meal = 3\nrhythm = \"sinus\"", "exactly one of set, what"),
        ("what = \"leads_off\"", "what happens has an end"),
        ("what = \"leads_off\"\nlasts = \"00:00:10\"\ncode = 3", "code: this happening has none"),
        ("what = \"arrhythmia\"\nlasts = \"00:00:10\"", "needs a code"),
        ("what = \"lead_off\"\nlasts = \"00:00:10\"", "unknown variant `lead_off`"),
        ("meal = 3\nlasts = \"00:00:10\"", "lasts does not belong to meal"),
        ("meal = 3\nwith = \"tea\"", "unknown field `with`"),
        ("set = { hr = 300 }", "invalid value"),
        ("set = { spo2 = 101 }", "at most 100 %"),
        ("set = { temperature = [366, 371] }", "from 15.0 to 45.0"),
        ("set = { temperature = [36.65, 37.1] }", "one decimal"),
        ("set = { pressure = [80, 120] }", "[systolic, diastolic]"),
        ("set = {}", "nothing is set"),
        ("set = { hr = 90 }\nover = \"00:10:00\"", "over: this goes on after the end"),
        ("set = { hr = 90 }\nover = \"10 min\"", "write a time as \"HH:MM:SS\""),
        ("measure = \"glucose\"\npulse = 72", "result of another measurement"),
        ("measure = \"kiosk\"\npulse = 72", "give pressure and pulse"),
        ("measure = \"monitor_cuff\"\nmoved = 2", "only a kiosk counts"),
        ("measure = \"glucose\"\nmg_per_dl = 0", "reads = \"LO\""),
        ("pump = { rate = 3.0 }", "there is no [infusion]"),
    ] {
        check_refused(&event(lines), &[said]);
    }
    let earlier = event("meal = 3") + &event("meal = 3").replace("01:00", "00:30");
    check_refused(&earlier, &["line 6: this is earlier than the event before it"]);
    let crowd = "[[crowd]]\nfrom = \"00:00:00\"\nuntil = \"00:10:00\"\npeople = 6";
    check_refused(crowd, &["line 3: a crowd comes within the story"]);
    check_refused("starts_at = \"24:00\"", &["write a time of day", "line 3"]);
    check_refused("[patient]\nglucose = 6", &["line 3: patient: glucose is fasting, in mg/dL"]);
    let both = "[patient]\nnight_dip = 60\n[station]\npumps = 4";
    check_refused(
        both,
        &["line 3: patient: night_dip is a percentage", "line 5: station: up to 3"],
    );
    let bad = Scenario::parse("about = { zh = \"\", en = \"\" }\nlength = \"00:00:00\"");
    assert!(bad.unwrap_err().to_string().starts_with("line 2: length: a story is longer"));
}

#[test]
fn a_bolus_has_an_exact_rate_and_nothing_is_changed_while_it_runs() {
    let infusion = "[infusion]\ndrug = { zh = \"\", en = \"\" }\nsyringe = 50\nrate = 4.5\n";
    let bolus = |over: &str| {
        let over = format!("over = \"{over}\"");
        format!("{infusion}[[event]]\nat = \"00:01:00\"\npump = {{ bolus = 1.0 }}\n{over}\n")
    };
    assert!(story(&bolus("00:00:10")).is_ok());
    check_refused(&bolus("00:00:07"), &["line 7: pump: choose over"]);
    check_refused(&bolus("00:00:02"), &["pump: choose over"]);
    let changed = "[[event]]\nat = \"00:01:05\"\npump = { rate = 1.0 }\n";
    check_refused(&(bolus("00:00:10") + changed), &["a bolus is running"]);
    check_refused(&bolus("00:00:00"), &["give rate, or syringe, or bolus together with over"]);
}
