//! The board's own files, inside the program.

use super::Problem;
use axum::{
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

/// The folder `board`, without its tests.
#[derive(RustEmbed)]
#[folder = "board"]
#[exclude = "tests/*"]
#[exclude = "*.md"]
#[exclude = "*.png"]
struct Board;

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
            (StatusCode::OK, headers, file.data).into_response()
        }
        None => missing(),
    }
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
        let hidden = |file: &&std::borrow::Cow<'_, str>| {
            file.starts_with("tests/") || file.ends_with(".md") || file.ends_with(".png")
        };
        assert_eq!(files.iter().find(hidden), None);
    }
}
