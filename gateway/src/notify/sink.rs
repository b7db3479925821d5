//! Sinks: who wants to be told what, and the way there.

use axum::http::Uri;
use model::{alarm::Priority, id::SiteId};
use std::{collections::BTreeSet, path::PathBuf};

/// A step in the life of an alert that somebody may want to be told; named as in its timeline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    Raised,
    Recurred,
    PriorityRose,
    Realarmed,
    Unshelved,
    Unsuppressed,
    InService,
    Escalated,
    Assigned,
    Cleared,
    /// It ended and nobody knows whether the condition is over: the patient left, the device was
    /// taken off. Told to whoever asks for [`Step::Cleared`].
    Closed,
}

impl Step {
    /// Those that a sink asks for.
    pub(crate) const ASKED: [Self; 10] = [
        Self::Raised,
        Self::Recurred,
        Self::PriorityRose,
        Self::Realarmed,
        Self::Unshelved,
        Self::Unsuppressed,
        Self::InService,
        Self::Escalated,
        Self::Assigned,
        Self::Cleared,
    ];

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ASKED.into_iter().chain([Self::Closed])
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Recurred => "recurred",
            Self::PriorityRose => "priority_rose",
            Self::Realarmed => "realarmed",
            Self::Unshelved => "unshelved",
            Self::Unsuppressed => "unsuppressed",
            Self::InService => "in_service",
            Self::Escalated => "escalated",
            Self::Assigned => "assigned",
            Self::Cleared => "cleared",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|step| step.name() == name)
    }

    /// Whether readings make it; time and people make the others.
    pub(super) const fn is_of_the_condition(self) -> bool {
        match self {
            Self::Raised | Self::Recurred | Self::PriorityRose | Self::Cleared => true,
            Self::Realarmed
            | Self::Unshelved
            | Self::Unsuppressed
            | Self::InService
            | Self::Escalated
            | Self::Assigned
            | Self::Closed => false,
        }
    }

    /// Whether what had set the alert aside is over with it: the alert itself is as it was.
    pub(super) const fn takes_back(self) -> bool {
        matches!(self, Self::Unshelved | Self::Unsuppressed | Self::InService)
    }

    /// Whether the alert sounds with it, wherever it stood.
    pub(super) const fn sounds(self) -> bool {
        matches!(self, Self::Raised | Self::Recurred | Self::PriorityRose | Self::Realarmed)
    }

    /// In the language of the sink.
    pub(super) const fn said(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Raised, Language::Chinese) => "触发",
            (Self::Raised, Language::English) => "raised",
            (Self::Recurred, Language::Chinese) => "复发",
            (Self::Recurred, Language::English) => "came back",
            (Self::PriorityRose, Language::Chinese) => "级别升高",
            (Self::PriorityRose, Language::English) => "priority rose",
            (Self::Realarmed, Language::Chinese) => "确认后仍未解除",
            (Self::Realarmed, Language::English) => "acknowledged and still there",
            (Self::Unshelved, Language::Chinese) => "搁置结束,仍未解除",
            (Self::Unshelved, Language::English) => "off the shelf and still there",
            (Self::Unsuppressed, Language::Chinese) => "恢复单独提示,仍未解除",
            (Self::Unsuppressed, Language::English) => "stands for itself again and still there",
            (Self::InService, Language::Chinese) => "恢复使用,仍未解除",
            (Self::InService, Language::English) => "back in service and still there",
            (Self::Escalated, Language::Chinese) => "无人确认,升级通知",
            (Self::Escalated, Language::English) => "nobody acknowledged, escalated",
            (Self::Assigned, Language::Chinese) => "指派",
            (Self::Assigned, Language::English) => "assigned",
            (Self::Cleared, Language::Chinese) => "已恢复",
            (Self::Cleared, Language::English) => "cleared",
            (Self::Closed, Language::Chinese) => "已结束(患者离开、设备取下或由另一条代替)",
            (Self::Closed, Language::English) => {
                "ended (the patient left, the device was taken off, or another stands for it)"
            }
        }
    }
}

/// What texts are in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Language {
    Chinese,
    English,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Chinese, Self::English];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }
}

/// The way to a sink.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    Webhook(Webhook),
    Command(Command),
}

/// Where a message is posted to.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) url: Uri,
    /// What both ends know and nobody else.
    pub(crate) secret_file: PathBuf,
    /// Who may have signed the certificate of the receiver.
    pub(crate) ca_file: PathBuf,
}

/// What is run with a message on its standard input.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    /// Nothing but what the configuration says.
    pub(crate) arguments: Vec<String>,
}

/// One `[[notify]]`.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub(crate) name: String,
    pub(crate) via: Via,
    pub(crate) priorities: Vec<Priority>,
    pub(crate) steps: Vec<Step>,
    /// `None`: every site.
    pub(crate) sites: Option<BTreeSet<SiteId>>,
    pub(crate) language: Language,
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    pub(super) delivered: bool,
    /// For the person who looks why: a status, an exit code, an error.
    pub(super) detail: String,
}

impl Outcome {
    pub(super) const fn delivered(detail: String) -> Self {
        Self { delivered: true, detail }
    }

    pub(super) const fn failed(detail: String) -> Self {
        Self { delivered: false, detail }
    }
}
