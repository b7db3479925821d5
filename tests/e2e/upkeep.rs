//! Story: the certificate of a box runs out in ten days. An administrator hears of it, no nurse does,
//! and it is over when the box has another one.

use anyhow::{Context as _, ensure};
use e2e::{Village, until};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use reqwest::{Client, header};
use serde_json::{Value, json};
use simulators::county::BrokerPlace;
use std::{fs, path::Path, time::Duration};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse";
const DAYS: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_runs_out_is_told_to_an_administrator_until_there_is_another()
-> anyhow::Result<()> {
    let mut village =
        Village::prepare(Path::new(PROGRAM), BrokerPlace::Embedded, "clinic-day").await?;
    let folder = village.site.config().parent().context("a folder")?.to_owned();
    let files = ["crt", "key"].map(|kind| folder.join(format!("{}.{kind}", village.site.name())));
    let [issued_crt, issued_key] = [fs::read(&files[0])?, fs::read(&files[1])?];
    let [short_crt, short_key] = certificate(&village.county.pki(), village.site.name())?;
    fs::write(&files[0], short_crt)?;
    fs::write(&files[1], short_key)?;
    let performances = village.start().await?;
    let password = village.folder().join("password");
    fs::write(&password, PASSWORD)?;
    let file = password.display().to_string();
    for (name, role) in [("chen", "system_admin"), ("wang", "nurse")] {
        let words =
            ["user", "add", name, "--role", role, "--own-password", "--password-file", &file];
        village.county.command(&words).await?;
    }
    let url = village.county.url();
    let (chen, wang) = (log_in(&url, "chen").await?, log_in(&url, "wang").await?);

    until("an administrator hears of it", LIMIT, async || {
        let Some(alert) = certificates(&url, &chen).await?.into_iter().next() else {
            return Ok(false);
        };
        ensure!(alert["device"] == village.site.name(), "{alert}");
        ensure!(alert["priority"] == "low" && alert["site"] == "county", "{alert}");
        let left: i64 = alert["value"].as_str().context("no value")?.parse()?;
        // It may be midnight in between.
        ensure!((DAYS - 1..=DAYS).contains(&left), "{alert}");
        Ok(true)
    })
    .await?;
    ensure!(certificates(&url, &wang).await?.is_empty(), "a nurse cannot issue one");

    fs::write(&files[0], issued_crt)?;
    fs::write(&files[1], issued_key)?;
    until("it is over", LIMIT, async || Ok(certificates(&url, &chen).await?.is_empty())).await?;

    for performance in performances {
        performance.unplug().await?;
    }
    village.site.stop().await?;
    village.county.stop().await
}

/// A certificate of the county for that box, and its key, as PEM.
fn certificate(pki: &Path, site: &str) -> anyhow::Result<[String; 2]> {
    let ca_key = KeyPair::from_pem(&fs::read_to_string(pki.join("ca.key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(pki.join("ca.crt"))?, ca_key)?;
    // It ends with the day.
    let date = |days: i64| -> anyhow::Result<_> {
        let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let date = date.checked_add(jiff::Span::new().days(days))?;
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(date_time_ymd(i32::from(date.year()), month, day))
    };
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, site);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (date(-1)?, date(DAYS + 1)?);
    let key = KeyPair::generate()?;
    Ok([params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()])
}

/// The cookie of a session.
async fn log_in(url: &str, who: &str) -> anyhow::Result<String> {
    let log_in = json!({"name": who, "password": PASSWORD});
    let session = client()?.post(format!("{url}/api/v1/session")).json(&log_in).send().await?;
    let cookie = session.headers().get(header::SET_COOKIE).context("no session")?;
    Ok(cookie.to_str()?.split(';').next().unwrap_or_default().to_owned())
}

/// Open alerts about certificates, as somebody is told them.
async fn certificates(url: &str, cookie: &str) -> anyhow::Result<Vec<Value>> {
    let asked = client()?.get(format!("{url}/api/v1/alerts?state=open"));
    let told: Value = asked.header(header::COOKIE, cookie).send().await?.json().await?;
    let alerts = told.get("alerts").and_then(Value::as_array).context("no list")?.iter();
    let is_one = |alert: &&Value| alert.pointer("/rules/0").is_some_and(|rule| rule == "TECH-CERT");
    Ok(alerts.filter(is_one).cloned().collect())
}

fn client() -> anyhow::Result<Client> {
    // An error means that somebody was first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Ok(Client::builder().no_proxy().build()?)
}
