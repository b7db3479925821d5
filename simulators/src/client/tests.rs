//! The client against a county that answers what it is told to.

use super::*;
use serde_json::{Value, json};

#[tokio::test]
async fn waveforms_come_in_as_many_pages_as_there_are() {
    let county = fake::county(|_, query| {
        assert_eq!(query["device"], "ecg-01");
        let block = |number: i32| json!({"start": "", "period": {"num": 1, "den": 250}, "samples": [number]});
        match query.get("cursor").map(String::as_str) {
            None => json!({"blocks": [block(1), block(2)], "next_cursor": "second"}),
            Some("second") => json!({"blocks": [block(3)], "next_cursor": "third"}),
            _ => json!({"blocks": [], "next_cursor": null}),
        }
    });
    let blocks = county.await.blocks("ecg-01", "ecg_ii", "2026-11-22T08:30:00Z").await.unwrap();
    let samples: Vec<i32> = blocks.into_iter().flat_map(|block| block.samples).collect();
    assert_eq!(samples, [1, 2, 3]);
}

#[tokio::test]
async fn a_county_that_turns_in_a_circle_is_told() {
    let county = fake::county(|_, _| json!({"readings": [], "next_cursor": "again"})).await;
    let error = county.readings("ecg-01", "2026-11-22T08:30:00Z").await.unwrap_err();
    assert!(error.to_string().contains("the same page again"), "{error}");
}

#[tokio::test]
async fn an_answer_of_another_shape_is_told() {
    let county = fake::county(|_, _| Value::Null).await;
    assert!(county.readings("ecg-01", "2026-11-22T08:30:00Z").await.is_err());
}
