//! The stream of events as it goes over the wire.

use super::*;
use flate2::write::GzDecoder;
use futures_util::StreamExt as _;
use std::{io::Write as _, time::Duration};

const LIMIT: Duration = Duration::from_secs(20);

impl Desk {
    async fn follow(&self, encodings: &str) -> Response<Body> {
        let cookie = self.log_in("wang").await;
        let request = Request::get("/api/v1/events").header(header::COOKIE, cookie);
        let request = request.header(header::ACCEPT_ENCODING, encodings);
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn an_event_in_gzip_waits_for_no_other() {
    let desk = Desk::new();
    let answer = desk.follow("gzip, deflate, br").await;
    assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut parts = answer.into_body().into_data_stream();
    let mut gunzip = GzDecoder::new(Vec::new());
    let mut heard = async |what: &str| {
        let hearing = async {
            while !String::from_utf8_lossy(gunzip.get_ref()).contains(what) {
                gunzip.write_all(&parts.next().await.unwrap().unwrap()).unwrap();
                gunzip.flush().unwrap();
            }
        };
        assert!(tokio::time::timeout(LIMIT, hearing).await.is_ok(), "{what}");
    };
    heard("event: hello\n").await;
    let cookie = desk.log_in("wang").await;
    let path = format!("/api/v1/alerts/{}/acknowledge", desk.alert().await);
    let body = json!({"reason": "at_bedside"}).to_string();
    desk.post(&path, &[("cookie", &cookie), JSON], &body).await;
    heard("active_ack").await;
    desk.app.stopped.cancel();
    while let Some(part) = parts.next().await {
        gunzip.write_all(&part.unwrap()).unwrap();
    }
    gunzip.finish().unwrap();
}

#[tokio::test]
async fn who_takes_no_gzip_gets_none() {
    for encodings in ["", "br", "x-gzip;q=0"] {
        let answer = Desk::new().follow(encodings).await;
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING), "{encodings}");
        let hello = answer.into_body().into_data_stream().next().await.unwrap().unwrap();
        assert!(hello.starts_with(b"event: hello\n"), "{hello:?}");
        let told = String::from_utf8_lossy(&hello);
        let (_, generation) = told.split_once("\"generation\":\"").unwrap();
        let (generation, _) = generation.split_once('"').unwrap();
        assert!(i64::from_str_radix(generation, 16).unwrap() > 0, "{told}");
    }
}

#[tokio::test]
async fn a_page_learns_that_the_county_has_another_board() {
    let desk = Desk::new();
    let page = Request::builder().uri("/").body(Body::empty()).unwrap();
    let page = to_bytes(desk.send(page).await.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let own = page.split_once("name=\"board\" content=\"").unwrap().1;
    let own = own.split_once('"').unwrap().0;
    assert_eq!(own.len(), 64, "{page}");
    let answer = desk.follow("").await;
    let hello = answer.into_body().into_data_stream().next().await.unwrap().unwrap();
    let hello = String::from_utf8(hello.to_vec()).unwrap();
    assert!(hello.contains(&format!("\"board\":\"{own}\"")), "{hello}");
}
