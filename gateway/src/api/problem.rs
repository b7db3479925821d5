//! Errors of the API as problem+json (RFC 9457).

use crate::{code::Code, store::StoreError};
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// An error as the API tells it.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
}

impl Problem {
    /// What happened; what to do next.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, status: code.status(), detail: detail.into(), more: Map::new() }
    }

    /// What somebody wrote cannot be taken, for a reason that has no word of its own.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::Unacceptable, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// With another status than its word has.
    pub(crate) fn answered(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// What it is about.
    pub(crate) fn in_field(mut self, field: &str) -> Self {
        self.detail = format!("{field}: {}", self.detail);
        self
    }

    /// A further member of the answer.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("type".to_owned(), json!("about:blank"));
        body.insert("code".to_owned(), json!(self.code.name()));
        body.insert("title".to_owned(), json!(self.code.title()));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, headers, Value::Object(body).to_string()).into_response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = format!("{:#}", anyhow::Error::new(error)),
            "A question could not be answered."
        );
        Self::new(Code::NoDatabase, "try again; tell the administrator if it repeats")
    }
}
