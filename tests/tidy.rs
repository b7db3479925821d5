//! Checks on the house itself: arrows between crates, sizes, lints, configuration files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test says what went wrong by failing"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What each package may depend on among ours. A new arrow is a numbered decision in
/// `ARCHITECTURE.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("config-reader", &[]),
    ("model", &[]),
    ("trace", &[]),
    ("drivers", &["model"]),
    ("rules", &["model"]),
    ("uplink-proto", &["model"]),
    ("virtual-devices", &["model"]),
    ("agent", &["config-reader", "model", "drivers", "trace", "rules", "uplink-proto"]),
    ("embedded-broker", &["uplink-proto", "model"]),
    ("gateway", &["config-reader", "model", "rules", "uplink-proto", "embedded-broker"]),
    (
        "simulators",
        &[
            "model",
            "drivers",
            "trace",
            "rules",
            "uplink-proto",
            "virtual-devices",
            "agent",
            "embedded-broker",
            "gateway",
        ],
    ),
];

/// Deciding crates: no runtime, no port, no file, no clock.
const PURE: &[&str] = &["model", "trace", "drivers", "rules", "uplink-proto", "virtual-devices"];
/// What a deciding crate may never depend on.
const WORLD: &[&str] = &[
    "tokio",
    "tokio-serial",
    "tokio-util",
    "rumqttc",
    "rusqlite",
    "rustix",
    "axum",
    "reqwest",
    "tracing",
    "rmqtt",
    "rustls",
];
/// A file near this is asking for a name nobody has found yet.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> BTreeMap<String, (PathBuf, toml::Table)> {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let dir = root().join(member.as_str().unwrap());
            let manifest: toml::Table = read(&dir.join("Cargo.toml")).parse().unwrap();
            (manifest["package"]["name"].as_str().unwrap().to_owned(), (dir, manifest))
        })
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dependencies<'a>(manifest: &'a toml::Table, table: &str) -> Vec<&'a str> {
    let table = manifest.get(table).and_then(|table| table.as_table());
    table.map(|table| table.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root(), "rs", &mut found);
    found
}

#[test]
fn every_arrow_between_rooms_is_a_decision() {
    let packages = packages();
    for (name, (_, manifest)) in packages.iter().filter(|(name, _)| *name != "e2e") {
        let allowed = ARROWS.iter().find(|(package, _)| package == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} has no line in ARROWS"));
        for dependency in dependencies(manifest, "dependencies") {
            let ours = packages.contains_key(dependency);
            assert!(!ours || allowed.contains(&dependency), "{name} points at {dependency}");
        }
    }
}

#[test]
fn deciding_crates_do_not_touch_the_world() {
    for (name, (_, manifest)) in packages() {
        if PURE.contains(&name.as_str()) {
            for dependency in dependencies(&manifest, "dependencies") {
                assert!(!WORLD.contains(&dependency), "{name} depends on {dependency}");
            }
        }
    }
}

#[test]
fn every_package_inherits_the_lints_and_versions_of_the_root() {
    for (name, (_, manifest)) in packages() {
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name}");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(table).and_then(|table| table.as_table()) else {
                continue;
            };
            for (dependency, value) in table {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(inherited, Some(true), "{name}: {dependency} has a version of its own");
            }
        }
    }
}

#[test]
fn every_pure_room_stands_under_the_same_clippy_toml() {
    let pure = read(&root().join("drivers/clippy.toml"));
    for room in ["gateway/uplink-proto", "gateway/rules", "simulators/devices"] {
        assert_eq!(read(&root().join(room).join("clippy.toml")), pure, "{room}");
    }
    let common: Vec<_> = pure.lines().take_while(|line| !line.starts_with("# This")).collect();
    let at_root = read(&root().join("clippy.toml"));
    for line in common {
        assert!(at_root.contains(line), "the root's clippy.toml lacks {line:?}");
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for path in rust_files() {
        let text = read(&path);
        let code = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        assert!(code <= FILE_LINES_MAX, "{} has {code} lines without its tests", path.display());
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in rust_files() {
        let text = read(&path);
        assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
    }
}

#[test]
fn no_lint_is_silenced_without_a_reason() {
    for path in rust_files().into_iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        let text = read(&path);
        for bare in ["#[allow", "#![allow"] {
            assert!(!text.contains(bare), "{}: {bare}; use expect with a reason", path.display());
        }
        for (at, _) in text.match_indices("[expect(") {
            let attribute = text[at..].split(")]").next().unwrap();
            assert!(attribute.contains("reason"), "{}: {attribute}", path.display());
        }
    }
}

#[test]
fn no_test_sleeps_or_is_skipped() {
    let marks = ["#[ig".to_owned() + "nore", "thread::sl".to_owned() + "eep"];
    for path in rust_files().into_iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        let text = read(&path);
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{}: {mark}", path.display());
        }
    }
}

#[test]
fn the_tests_of_the_alert_rules_are_where_the_readme_says() {
    let readme = read(&root().join("tests/README.md"));
    let (_, table) = readme.split_once("## The tests of the alert rules").unwrap();
    let mut numbers = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, test, path] = cells[..] else { panic!("{row}") };
        let (test, path) = (test.trim_matches('`'), path.trim_matches('`'));
        let text = read(&root().join(path));
        assert!(text.contains(&format!("fn {test}(")), "{test} is not in {path}");
        numbers.extend(what.split_once(':').and_then(|(number, _)| number.parse::<u32>().ok()));
    }
    assert_eq!(numbers, (1..=19).collect::<Vec<_>>());
}

#[test]
fn one_file_of_a_program_reads_its_clock_and_one_spawns() {
    let clocks = ["Instant::now(", "SystemTime::now(", "Timestamp::now(", "Zoned::now("];
    for room in ["agent/src", "gateway/src"] {
        let mut found = Vec::new();
        files(&root().join(room), "rs", &mut found);
        for path in found {
            let text = read(&path);
            let code = text.split("#[cfg(test)]").next().unwrap();
            for clock in clocks {
                let here = code.contains(clock) && !path.ends_with("clock.rs");
                assert!(!here, "{} reads a clock: {clock}", path.display());
            }
            let spawns = room == "agent/src" && code.contains("tokio::spawn(");
            assert!(!spawns || path.ends_with("supervisor.rs"), "{} spawns", path.display());
        }
    }
}

#[test]
fn every_relative_link_in_the_documents_leads_somewhere() {
    let mut found = Vec::new();
    files(&root(), "md", &mut found);
    for path in
        found.into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "vendor"))
    {
        let text = read(&path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let outside = target.is_empty() || target.contains("://") || target.contains(' ');
            let there = path.parent().unwrap().join(target).exists();
            assert!(outside || there, "{}: dead link {link}", path.display());
        }
    }
}
