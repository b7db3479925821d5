//! How often a box and its devices were lost within a day.

use super::evaluation::{County, at, online, status};
use model::{device::DeviceState, time::WallTime};
use serde_json::{Value, json};

fn lost(times: u32, seconds: u32) -> Value {
    json!({"times": times, "seconds": seconds, "at_least": false})
}

#[track_caller]
fn box_lost(county: &County, now: WallTime, times: u32, seconds: u32) {
    assert_eq!(county.site_at(now)["lost_24h"], lost(times, seconds));
}

#[test]
fn a_box_that_goes_and_comes_is_counted_with_its_time_away() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    box_lost(&county, at(10), 0, 0);
    county.state(at(60), at(60), false);
    box_lost(&county, at(80), 1, 20);
    county.state(at(100), at(100), true);
    box_lost(&county, at(110), 1, 40);
    // A day later nobody asks any more.
    box_lost(&county, at(100 + 24 * 3600), 1, 0);
    box_lost(&county, at(101 + 24 * 3600), 0, 0);
}

#[test]
fn a_box_that_connected_anew_before_its_will_was_heard_was_away_since_it_was_heard() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.state(at(25), at(25), true);
    box_lost(&county, at(30), 1, 25);
}

#[test]
fn a_box_that_tells_nothing_any_more_was_away_since_it_was_heard() {
    let mut county = County::new();
    county.state(at(0), at(0), true);
    county.pass_time(at(100), Some(at(10)));
    box_lost(&county, at(130), 1, 130);
    county.state(at(160), at(160), true);
    box_lost(&county, at(200), 1, 160);
}

#[test]
fn a_device_is_counted_by_its_own_words_also_when_they_come_late() {
    let county = County::new();
    county.take(at(0), vec![online(1, at(0))]);
    county.take(at(400), vec![status(4, at(400), DeviceState::Online)]);
    assert_eq!(county.device_at(at(500))["lost_24h"], lost(0, 0));
    // Its box was alone meanwhile; what is newer came first.
    county.take(at(410), vec![status(2, at(100), DeviceState::Silent)]);
    county.take(at(410), vec![status(3, at(130), DeviceState::LinkDown)]);
    assert_eq!(county.device_at(at(500))["lost_24h"], lost(1, 300));
    assert_eq!(county.device_at(at(500))["state"], json!("online"));
    // What a person takes away is not lost.
    county.take(at(600), vec![status(5, at(600), DeviceState::Removed)]);
    assert_eq!(county.device_at(at(700))["lost_24h"], lost(1, 300));
}
