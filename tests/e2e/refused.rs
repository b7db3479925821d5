//! Story: a box that is not accepted says in `status` why, and what to do next.

use anyhow::{Context as _, ensure};
use e2e::{Village, read_only, until};
use simulators::{
    county::{BrokerPlace, County, CountyPlan, free_port},
    demo::cast,
    process::{Program, Role},
    site::Site,
};
use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use virtual_devices::{EcgSource, Patient, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clinic-parts");
const LIMIT: Duration = Duration::from_secs(60);
/// What `configs/broker/acl` gives a box.
const RIGHTS: &str = "pattern write clinic/v1/%u/up/+\npattern write clinic/v1/%u/state\n\
                      pattern read clinic/v1/%u/ack\n";
/// It may only listen.
const NO_RIGHTS: &str = "pattern read clinic/v1/%u/ack\n";

/// mosquitto with such an access list, killed when it goes out of scope.
struct Mosquitto(Child);

impl Mosquitto {
    fn start(folder: &Path, pki: &Path, port: u16, acl: &str) -> anyhow::Result<Self> {
        let (acl_file, config) = (folder.join("acl"), folder.join("mosquitto.conf"));
        fs::write(&acl_file, acl)?;
        let (acl_file, pki) = (acl_file.display(), pki.display());
        let text = format!(
            "user root\nlistener {port}\ncafile {pki}/ca.crt\ncertfile {pki}/broker.crt\n\
             keyfile {pki}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n\
             allow_anonymous false\nacl_file {acl_file}\n"
        );
        fs::write(&config, text)?;
        let program = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let child = Command::new(program.context("mosquitto is missing; tests/run installs it")?)
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("mosquitto.log"))?)
            .spawn()
            .context("starting mosquitto")?;
        Ok(Self(child))
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_broker_refuses_is_told_with_the_next_step() -> anyhow::Result<()> {
    let port = free_port()?;
    let scenario = Scenario::built_in("clinic-day").context("a scenario is missing")?;
    // Nobody plays them: that their ports are missing is news enough for the outbox.
    let devices = cast("heping", 7, &Patient::new(7, scenario, EcgSource::Recording));
    let program = Program::at(Path::new(PROGRAM));
    let address = format!("localhost:{port}");
    let mut village =
        Village::prepare_on(&program, BrokerPlace::Outside(address.clone()), devices).await?;
    let (folder, config) = (village.folder().to_owned(), village.site.config());
    let pki = village.county.pki();
    let plan = CountyPlan {
        dir: folder.join("elsewhere"),
        http_port: 0,
        broker: BrokerPlace::Embedded,
        clinics: vec![("和平镇卫生院", "heping")],
    };
    let elsewhere = County::prepare(&program, plan).await?;
    let stranger = folder.join("stranger");
    elsewhere.issue("heping", &stranger).await?;
    let ours = fs::read_to_string(&config)?;
    let stranger = |name: &str| stranger.join(name).display().to_string();

    let foreign_ca = ours.replace("\"ca.crt\"", &format!("\"{}\"", stranger("ca.crt")));
    let other_name = ours.replace(&address, &format!("127.0.0.2:{port}"));
    let foreign_box = ours
        .replace("\"heping.crt\"", &format!("\"{}\"", stranger("heping.crt")))
        .replace("\"heping.key\"", &format!("\"{}\"", stranger("heping.key")));
    for (acl, text, expected, tries) in [
        (RIGHTS, &foreign_ca, "not of the county's CA; copy ca.crt from the county again", 3),
        (RIGHTS, &other_name, "another name than `broker` in agent.toml", 1),
        (RIGHTS, &foreign_box, "does not take the certificate of this box; issue it again", 3),
        (NO_RIGHTS, &ours, "NotAuthorized; its ACL does not let this box publish", 1),
        (RIGHTS, &ours, "the county service is away; readings are kept", 1),
    ] {
        let _mosquitto = Mosquitto::start(&folder, &pki, port, acl)?;
        fs::write(&config, text)?;
        let before = connections(&village.site).unwrap_or_default();
        village.site.start()?;
        until(expected, LIMIT, async || {
            let words = [OsStr::new("status"), OsStr::new("--config"), config.as_os_str()];
            let told = program.run(Role::Agent, &words).await?;
            ensure!(told.contains(expected), "{told}");
            Ok(connections(&village.site)? >= before + tries)
        })
        .await?;
        village.site.stop().await?;
    }
    // However often it was tried, each cause is in the log once.
    let log = fs::read_to_string(village.site.log())?;
    for cause in ["not of the county's CA", "does not take the certificate"] {
        let told = log.matches(cause).count();
        ensure!(told == 1, "{cause}: {told} times in {log}");
    }
    Ok(())
}

/// How often the agent of that site has tried to connect.
fn connections(site: &Site) -> anyhow::Result<i64> {
    let question = "SELECT value FROM meta WHERE key = 'connection'";
    Ok(read_only(&site.outbox())?.query_row(question, [], |row| row.get(0))?)
}
