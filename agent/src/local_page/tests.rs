//! Who may ask, and that the page stands by itself in both languages.

use super::*;
use std::collections::BTreeSet;

fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
    pairs.collect()
}

#[test]
fn only_an_address_of_the_box_is_a_host() {
    let host = |host: &str| own_host(&headers(&[(header::HOST, host)]));
    for own in ["127.0.0.1:8480", "192.168.1.10", "localhost:8480", "[::1]:8480"] {
        assert_eq!(host(own).as_deref(), Some(own));
    }
    for strange in ["clinic.example:8480", "localhost.example", ""] {
        assert_eq!(host(strange), None, "{strange}");
    }
    assert_eq!(own_host(&HeaderMap::new()), None);
}

#[test]
fn another_page_cannot_acknowledge() {
    let host = "127.0.0.1:8480";
    let json = (header::CONTENT_TYPE, "application/json");
    let from = |origin: &'static str| {
        is_from_here(&headers(&[json.clone(), (header::ORIGIN, origin)]), host)
    };
    assert!(from("http://127.0.0.1:8480"));
    assert!(!from("http://127.0.0.1:8481"));
    assert!(!from("null"));
    assert!(is_from_here(&headers(&[json]), host), "a program of the box");
    assert!(!is_from_here(&headers(&[(header::CONTENT_TYPE, "text/plain")]), host));
}

#[test]
fn both_languages_have_every_text_and_the_page_uses_no_other() {
    let keys = |text: &str| -> BTreeSet<String> {
        let texts: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
        texts.into_keys().collect()
    };
    let [zh, en] = [include_str!("../../page/zh-CN.json"), include_str!("../../page/en.json")];
    assert_eq!(keys(zh), keys(en));
    let script = include_str!("../../page/page.js");
    let used = script.match_indices("t('").filter_map(|(at, _)| {
        let word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let before = script[..at].chars().next_back();
        script[at + 3..].split('\'').next().filter(|_| !before.is_some_and(word))
    });
    let missing: Vec<_> = used.filter(|key| !keys(zh).contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_state_has_the_words_of_the_nurses_board() {
    let values = |text: &str| -> BTreeMap<String, String> {
        let texts: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
        texts.into_iter().filter(|(key, _)| key.starts_with("value.")).collect()
    };
    assert_eq!(values(FILES[3].2), values(include_str!("../../../gateway/board/texts/zh-CN.json")));
    assert_eq!(values(FILES[4].2), values(include_str!("../../../gateway/board/texts/en.json")));
    assert!(!values(FILES[3].2).is_empty(), "the board has none");
    let shown = FILES[2].2.lines().find(|line| line.trim_start().starts_with("text: hidden"));
    assert!(shown.is_some_and(|line| line.contains("wordOf(`value.${value.metric}`")), "{shown:?}");
}

#[test]
fn of_a_patient_the_page_says_the_bed_and_never_the_key() {
    let (_, from) = FILES[2].2.split_once("function whose").unwrap();
    let (whole, _) = from.split_once("\n}").unwrap();
    let lines: Vec<_> = whole.lines().map(str::trim).collect();
    let expected = [
        "({ patient, bed }) {",
        "if (bed) return t('patient.bed', { bed });",
        "return t(patient ? 'patient.no_bed' : 'patient.none');",
    ];
    assert_eq!(lines, expected);
    assert!(!FILES[2].2.contains("alert.patient"));
}

#[test]
fn the_page_names_no_other_address() {
    for (path, _, text) in FILES {
        for outside in ["http://", "https://", "//cdn", "@import", "url("] {
            assert!(!text.contains(outside), "{path} has {outside}");
        }
    }
}
