//! What a handler takes from a request; what does not fit is told as problem+json, like every other
//! error.

use super::Problem;
use crate::code::Code;
use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

/// The body as JSON.
pub(super) struct JsonBody<T>(pub(super) T);

/// The body as text.
pub(super) struct TextBody(pub(super) String);

/// The query of the address.
pub(super) struct Query<T>(pub(super) T);

/// What stands in the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl<S: Send + Sync> FromRequest<S> for TextBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = String::from_request(request, state).await;
        read.map(Self).map_err(|rejection| of_body(rejection.status(), &rejection.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let AxumQuery(query) = AxumQuery::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let AxumPath(path) = AxumPath::from_request_parts(parts, state).await?;
        Ok(Self(path))
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        of_body(rejection.status(), &rejection.body_text())
    }
}

fn of_body(status: StatusCode, text: &str) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(Code::TooLarge, "send less");
    }
    misunderstood(status, &format!("body: {text}"))
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        misunderstood(rejection.status(), &rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        misunderstood(rejection.status(), &rejection.body_text())
    }
}

fn misunderstood(status: StatusCode, text: &str) -> Problem {
    Problem::new(Code::Misunderstood, format!("{text}; see /api/v1/openapi.json")).answered(status)
}
