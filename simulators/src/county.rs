//! One county service on this machine: a fresh PKI, a configuration, the gateway process.

use crate::{
    client::Client,
    process::{Process, Program, Role},
};
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tempfile::NamedTempFile;

/// A gateway that was just killed rolls its write-ahead log back first.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How often one looks whether the data folder is free.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who listens for MQTT.
#[derive(Clone, Debug)]
pub enum BrokerPlace {
    /// The gateway itself.
    Embedded,
    /// A broker of its own, `host:port`.
    Outside(String),
}

/// What makes one county different from another.
#[derive(Clone, Debug)]
pub struct CountyPlan {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Port of the board; 0: any free one.
    pub http_port: u16,
    /// Who listens for MQTT.
    pub broker: BrokerPlace,
    /// Names of the township clinics and their sites.
    pub clinics: Vec<(&'static str, &'static str)>,
}

/// A county service.
#[derive(Debug)]
pub struct County {
    program: Program,
    plan: CountyPlan,
    http_port: u16,
    broker: String,
    token: String,
    password: String,
    process: Option<Process>,
}

/// Name under which a person may log in at the board.
pub const NURSE: &str = "nurse";

impl County {
    /// Makes keys, certificates, a user, a token and the configuration; starts nothing.
    ///
    /// # Errors
    /// When a command of the gateway fails; the message has what it said.
    pub async fn prepare(program: &Program, plan: CountyPlan) -> anyhow::Result<Self> {
        fs::create_dir_all(&plan.dir).with_context(|| format!("making {}", plan.dir.display()))?;
        let http_port = if plan.http_port == 0 { free_port()? } else { plan.http_port };
        let broker = match &plan.broker {
            BrokerPlace::Embedded => format!("127.0.0.1:{}", free_port()?),
            BrokerPlace::Outside(address) => address.clone(),
        };
        let mut county = Self {
            program: program.clone(),
            plan,
            http_port,
            broker,
            token: String::new(),
            password: random_word()?,
            process: None,
        };
        fs::write(county.config(), county.configuration()).context("writing gateway.toml")?;
        county.command(&["pki", "init"]).await?;
        // Readable by its owner only, and removed when it goes out of scope.
        let mut password = NamedTempFile::new_in(&county.plan.dir).context("a password file")?;
        password.write_all(county.password.as_bytes()).context("writing the password file")?;
        let path = password.path().display().to_string();
        county
            .command(&[
                "user",
                "add",
                NURSE,
                "--role",
                "nurse",
                "--own-password",
                "--password-file",
                &path,
            ])
            .await?;
        drop(password);
        let token = county.command(&["token", "create", "--role", "engineer"]).await?;
        county.token = token.trim().to_owned();
        Ok(county)
    }

    /// Starts the gateway and waits until it answers.
    ///
    /// # Errors
    /// When it is not ready in time; the message has the end of its log.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        /// What the gateway prints when it is ready.
        #[derive(Deserialize)]
        struct Ready {
            ready: Addresses,
        }
        #[derive(Deserialize)]
        struct Addresses {
            http: String,
        }
        self.data_folder_is_free().await?;
        let config = self.config();
        let arguments = [OsStr::new("run"), OsStr::new("--config"), config.as_os_str()];
        let process =
            self.process.insert(self.program.start(Role::Gateway, &arguments, &self.log())?);
        let line = process.line(READY_LIMIT).await?;
        let ready: Ready =
            serde_json::from_str(&line).with_context(|| format!("the gateway said {line:?}"))?;
        if ready.ready.http != format!("127.0.0.1:{}", self.http_port) {
            bail!("the gateway listens at {}, not where it was told", ready.ready.http);
        }
        Ok(())
    }

    /// Waits until nothing holds the data folder: a gateway that was killed as it began a command
    /// leaves it to that for a moment.
    async fn data_folder_is_free(&self) -> anyhow::Result<()> {
        let path = self.plan.dir.join("data/lock");
        let Ok(lock) = fs::File::options().append(true).open(&path) else { return Ok(()) };
        let end = Instant::now() + READY_LIMIT;
        let mut look = tokio::time::interval(LOOK_EVERY);
        while lock.try_lock().is_err() {
            if Instant::now() > end {
                bail!("something holds {} since the gateway ended", path.display());
            }
            look.tick().await;
        }
        Ok(())
    }

    /// Process id of the gateway, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Kills the gateway without warning.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Stops the gateway and checks that it ended well.
    ///
    /// # Errors
    /// When it does not stop in time or ends with a failure.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let status = process.stop().await.context("stopping the gateway")?;
        if status.success() { Ok(()) } else { bail!("the gateway ended with {status}") }
    }

    /// Issues the certificate of a site into `dir`.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn issue(&self, site: &str, dir: &Path) -> anyhow::Result<()> {
        let dir = dir.display().to_string();
        self.command(&["pki", "issue", site, "--out", &dir]).await.map(drop)
    }

    /// Runs one command of the gateway with this county's configuration.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub async fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        let config = self.config();
        let mut arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("--config"), config.as_os_str()]);
        self.program.run(Role::Gateway, &arguments).await
    }

    /// The API, with this county's token.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::new(&self.url(), &self.token, None)
    }

    /// Address of board and API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Address of the broker.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Password of [`NURSE`].
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Token of a program that reads everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The gateway's configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.plan.dir.join("gateway.toml")
    }

    /// The folder of keys and certificates.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.plan.dir.join("pki")
    }

    /// The gateway's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.plan.dir.join("gateway.log")
    }

    fn configuration(&self) -> String {
        let dir = self.plan.dir.display();
        let embedded = matches!(self.plan.broker, BrokerPlace::Embedded);
        let mut text = format!(
            "data_dir = \"{dir}/data\"\n\n\
             [http]\naddress = \"127.0.0.1:{}\"\ntls = \"off\"\n\n\
             [broker]\nembedded = {embedded}\naddress = \"{}\"\n\n\
             [pki]\ndir = \"{dir}/pki\"\n",
            self.http_port, self.broker
        );
        for (name, site) in &self.plan.clinics {
            text += &format!("\n[[clinic]]\nname = \"{name}\"\nsites = [\"{site}\"]\n");
        }
        text
    }
}

/// A port nobody listens at; the kernel's choice.
///
/// # Errors
/// When the kernel has none.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("asking the kernel for a free port")?;
    Ok(listener.local_addr().context("asking for the port")?.port())
}

/// A password for a demonstration: 12 characters nobody has to guess wrong when reading them out.
fn random_word() -> anyhow::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567899";
    let mut bytes = [0; 12];
    aws_lc_rs::rand::fill(&mut bytes).context("asking for random bytes")?;
    let letter = |byte: u8| LETTERS.get(usize::from(byte % 32)).map(|&letter| char::from(letter));
    Ok(bytes.into_iter().filter_map(letter).collect())
}
