//! The board's own files, inside the program.

use super::Problem;
use crate::people::hex;
use aws_lc_rs::digest::{Context, SHA256};
use axum::{
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;
use std::{borrow::Cow, collections::BTreeSet, sync::LazyLock};

/// The folder `board`, without its tests.
#[derive(RustEmbed)]
#[folder = "board"]
#[exclude = "tests/*"]
#[exclude = "*.md"]
#[exclude = "*.png"]
struct Board;

/// Where the page is told of which board it is.
const UNMARKED: &str = "name=\"board\" content=\"\"";

/// Tells this board from that of another program: a page that stayed open while the county was
/// renewed sees that there is another.
pub(super) static MARK: LazyLock<String> = LazyLock::new(|| {
    let mut whole = Context::new(&SHA256);
    for name in Board::iter().collect::<BTreeSet<_>>() {
        let hash = Board::get(&name).map(|file| file.metadata.sha256_hash());
        whole.update(name.as_bytes());
        whole.update(&hash.unwrap_or_default());
    }
    hex(whole.finish().as_ref())
});

/// A file of the board; anything else is not there.
pub(super) async fn page(method: Method, uri: Uri) -> Response {
    let path = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    if method != Method::GET && method != Method::HEAD {
        return missing();
    }
    match Board::get(path) {
        Some(file) => {
            let kind = file.metadata.mimetype().to_owned();
            let headers =
                [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache".to_owned())];
            let data = if path == "index.html" { marked(&file.data) } else { file.data };
            (StatusCode::OK, headers, data).into_response()
        }
        None => missing(),
    }
}

fn marked(page: &[u8]) -> Cow<'static, [u8]> {
    let mark = UNMARKED.replace("\"\"", &format!("\"{}\"", *MARK));
    Cow::Owned(String::from_utf8_lossy(page).replacen(UNMARKED, &mark, 1).into_bytes())
}

fn missing() -> Response {
    Problem::not_found("this path leads nowhere; see /api/v1/openapi.json").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_served_and_its_tests_are_not() {
        let files: Vec<_> = Board::iter().collect();
        assert!(files.iter().any(|file| file == "js/app.js"));
        let hidden = |file: &&Cow<'_, str>| {
            file.starts_with("tests/") || file.ends_with(".md") || file.ends_with(".png")
        };
        assert_eq!(files.iter().find(hidden), None);
    }
}
