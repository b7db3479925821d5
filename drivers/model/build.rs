//! Turns `metrics.csv` into the static table and the named constants of `metric.rs`.

#![expect(
    clippy::expect_used,
    reason = "a build script stops the build when the catalogue is wrong"
)]

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=metrics.csv");
    println!("cargo:rerun-if-changed=build.rs");
    let rows: Vec<csv::StringRecord> = csv::Reader::from_path("metrics.csv")
        .expect("metrics.csv is beside build.rs")
        .into_records()
        .collect::<Result<_, _>>()
        .expect("metrics.csv is well-formed");
    let header =
        csv::Reader::from_path("metrics.csv").expect("readable").headers().expect("header").clone();
    let column = |name: &str| header.iter().position(|title| title == name).expect("column exists");
    let field = |row: &csv::StringRecord, name: &str| row[column(name)].to_owned();
    let index_of = |name: &str| rows.iter().position(|row| field(row, "metric") == name);

    let mut constants = String::new();
    let mut table = String::new();
    for (index, row) in rows.iter().enumerate() {
        let name = field(row, "metric");
        let upper = name.to_uppercase();
        let name_en = field(row, "name_en");
        writeln!(
            constants,
            "    /// {name_en} (`{name}`).\n    pub const {upper}: Self = Self({index});"
        )
        .expect("write");
        let alias = match field(row, "alias_of").as_str() {
            "" => "None".to_owned(),
            target => format!("Some(Metric({}))", index_of(target).expect("alias target exists")),
        };
        writeln!(
            table,
            "    MetricRow {{ name: {name:?}, group: {:?}, name_zh: {:?}, name_en: {name_en:?}, mdc_code32: {}, class: Class::{}, kind: Kind::{}, reject: ({}, {}), implausible: ({}, {}), decimals: {}, canonical_unit: {}, class_rank: {}, alias_of: {alias} }},",
            field(row, "group"),
            field(row, "name_zh"),
            option(&field(row, "mdc_code32")),
            camel(&field(row, "class")),
            camel(&field(row, "kind")),
            decimal(&field(row, "reject_lo")),
            decimal(&field(row, "reject_hi")),
            decimal(&field(row, "implausible_lo")),
            decimal(&field(row, "implausible_hi")),
            option(&field(row, "decimals")),
            unit(&field(row, "canonical_unit")),
            option(&field(row, "class_rank")),
        )
        .expect("write");
    }
    let classes: BTreeSet<String> = rows.iter().map(|row| field(row, "class")).collect();
    let mut class_enum = String::new();
    let mut class_names = String::new();
    for class in &classes {
        writeln!(class_enum, "    /// Class `{class}` of the catalogue.\n    {},", camel(class))
            .expect("write");
        writeln!(class_names, "    (Class::{}, {class:?}),", camel(class)).expect("write");
    }
    let out = format!(
        "/// What rules name: a quantity, however it was measured. Each class has one canonical unit.\n\
         #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]\npub enum Class {{\n{class_enum}}}\n\
         const CLASS_NAMES: &[(Class, &str)] = &[\n{class_names}];\n\
         impl Metric {{\n{constants}}}\n\
         static TABLE: &[MetricRow] = &[\n{table}];\n"
    );
    let target =
        Path::new(&env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("catalogue.rs");
    fs::write(target, out).expect("OUT_DIR is writable");
}

fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        })
        .collect()
}

fn option(text: &str) -> String {
    if text.is_empty() { "None".to_owned() } else { format!("Some({text})") }
}

fn unit(text: &str) -> String {
    if text.is_empty() { "None".to_owned() } else { format!("Some(Unit::fixed({text:?}))") }
}

/// "42.5" becomes mantissa 425, exponent -1.
fn decimal(text: &str) -> String {
    if text.is_empty() {
        return "None".to_owned();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mantissa: i64 = format!("{whole}{fraction}").parse().expect("a limit is a decimal number");
    format!("Some(Decimal::fixed({mantissa}, -{}))", fraction.len())
}
