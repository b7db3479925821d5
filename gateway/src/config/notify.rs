//! `[[notify]]`: who is told of alerts beside the board.

use crate::notify::{Command, Language, Sink, Step, Via, Webhook};
use axum::http::Uri;
use config_reader::{Placed, Section};
use model::{alarm::Priority, id::SiteId};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
};

/// Longest name of a sink.
const NAME_LEN_MAX: usize = 32;
/// The certificates that Debian trusts.
const CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where nobody says which.
const PRIORITIES: [Priority; 2] = [Priority::Medium, Priority::High];
/// All but the good news.
const STEPS: [Step; 9] = [
    Step::Raised,
    Step::Recurred,
    Step::PriorityRose,
    Step::Realarmed,
    Step::Unshelved,
    Step::Unsuppressed,
    Step::InService,
    Step::Escalated,
    Step::Assigned,
];

/// Every sink; `clinics` are those of the configuration.
pub(super) fn sinks(
    sections: Vec<Section<'_>>,
    beside: &Path,
    clinics: &BTreeMap<SiteId, String>,
) -> Vec<Sink> {
    let mut names = BTreeSet::new();
    let mut sinks = Vec::new();
    for mut section in sections {
        let name = section.parsed("name", "duty-phone", name);
        if let Some(Placed { value, place }) = &name
            && !names.insert(value.clone())
        {
            section.note(place, format!("notify.name: \"{value}\" is taken; choose another name"));
        }
        let via = via(&mut section, beside);
        let priorities =
            list(&mut section, "priorities", &PRIORITIES, &Priority::ALL, |priority| {
                priority.name()
            });
        let steps = list(&mut section, "steps", &STEPS, &Step::ASKED, |step| step.name());
        let sites = sites(&mut section, clinics);
        let language = section.optional_parsed("language", |text| {
            let known = Language::ALL.into_iter().find(|language| language.name() == text);
            known.ok_or_else(|| format!("\"{text}\" is unknown; write \"zh-CN\" or \"en\""))
        });
        section.finish();
        let language = language.map_or(Language::Chinese, |language| language.value);
        if let (Some(name), Some(via)) = (name, via) {
            sinks.push(Sink { name: name.value, via, priorities, steps, sites, language });
        }
    }
    sinks
}

fn name(text: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => {
            Err(format!("\"{text}\" is no name; use 1 to {NAME_LEN_MAX} of a to z, 0 to 9 and '-'"))
        }
    }
}

fn via(section: &mut Section<'_>, beside: &Path) -> Option<Via> {
    let kind = section.parsed("kind", "webhook", |text| match text {
        "webhook" | "command" => Ok(text == "webhook"),
        other => Err(format!("\"{other}\" is unknown; write \"webhook\" or \"command\"")),
    });
    if kind?.value {
        let url = section.parsed("url", "https://hooks.county.example/clinic", url);
        let secret = section.text("secret_file", "/etc/clinic-edge/duty-phone.secret");
        let ca = section.optional_text("ca_file").map_or(CA_FILE, |file| file.value);
        return Some(Via::Webhook(Webhook {
            url: url?.value,
            secret_file: beside.join(secret?.value),
            ca_file: beside.join(ca),
        }));
    }
    let program =
        section.parsed("program", "/usr/local/bin/notify-duty", |text| {
            match Path::new(text).is_absolute() {
                true => Ok(PathBuf::from(text)),
                false => Err(format!("\"{text}\" is searched nowhere; write its whole path")),
            }
        });
    let arguments = section.texts("arguments");
    let arguments = arguments.into_iter().map(|argument| argument.value.to_owned()).collect();
    Some(Via::Command(Command { program: program?.value, arguments }))
}

/// Plain HTTP stays on this machine, and a secret does not stand in a configuration.
fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no address; write https://host/path, in ASCII"))?;
    let host = url.host().unwrap_or_default();
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a name or password does not belong here; use secret_file".to_owned());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let own = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match url.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if own => Ok(url),
        Some("http") => Err(format!(
            "\"{text}\" is plain HTTP to another machine; write https, or a loopback address"
        )),
        _ => Err(format!("\"{text}\" is no address; write https://host/path")),
    }
}

/// Names of an enumeration; `usual` where none are given.
fn list<T: Copy>(
    section: &mut Section<'_>,
    key: &'static str,
    usual: &[T],
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Vec<T> {
    let given = section.texts(key);
    if given.is_empty() {
        return usual.to_vec();
    }
    let mut found = Vec::new();
    for text in given {
        match all.iter().copied().find(|one| name(*one) == text.value) {
            Some(one) => found.push(one),
            None => {
                let known: Vec<_> = all.iter().copied().map(&name).collect();
                let (wrong, known) = (text.value, known.join(", "));
                section.note(&text.place, format!("notify.{key}: \"{wrong}\"; known: {known}"));
            }
        }
    }
    found
}

/// The sites of the clinics that are named; all where none is.
fn sites(
    section: &mut Section<'_>,
    clinics: &BTreeMap<SiteId, String>,
) -> Option<BTreeSet<SiteId>> {
    let given = section.texts("clinics");
    if given.is_empty() {
        return None;
    }
    let mut found = BTreeSet::new();
    for clinic in given {
        let sites = clinics.iter().filter(|(_, name)| *name == clinic.value).map(|(site, _)| site);
        let before = found.len();
        found.extend(sites.cloned());
        if found.len() == before {
            let text = format!(
                "notify.clinics: no [[clinic]] is called \"{}\"; write its name as it stands there",
                clinic.value
            );
            section.note(&clinic.place, text);
        }
    }
    Some(found)
}
