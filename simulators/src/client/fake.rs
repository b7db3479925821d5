//! A county that answers what a test tells it to.

use super::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A client of a county that answers each path and query with `answer`.
pub(crate) async fn county(
    answer: impl Fn(&str, &BTreeMap<String, String>) -> Value + Send + Sync + 'static,
) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, &answer).await;
        }
    });
    Client::new(&url, "token", None).unwrap()
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&str, &BTreeMap<String, String>) -> Value + Sync),
) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await.unwrap();
        request.extend_from_slice(&chunk[..count]);
    }
    let request = String::from_utf8(request).unwrap();
    let url = reqwest::Url::parse("http://county").unwrap();
    let url = url.join(request.split(' ').nth(1).unwrap()).unwrap();
    let body = answer(url.path(), &url.query_pairs().into_owned().collect()).to_string();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:";
    let text = format!("{head} {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).await.unwrap();
}
