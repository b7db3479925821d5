//! The county as a proof drives it: what comes in, people, time and the late pass, all by the
//! proof's own clock. Nothing of the program uses this.

use crate::{
    alerts::{
        self, Context, Evaluation,
        act::{Deed, act},
    },
    clock, intake, late,
    patients::{
        binding::{self, BindingEnd, NewBinding},
        ward::ward,
    },
    people::{Caller, CallerKind, Role, Scope},
    policy::in_hand,
    query::Clinics,
    store::Store,
};
use anyhow::{Context as _, anyhow};
use model::{
    alert::InHand,
    id::{Lane, SiteId},
    time::WallTime,
};
use rules::{
    alert::AlertId,
    binding::{BindingList, PatientKey},
    engine::Action,
    population::Profile,
    rule::RuleSet,
};
use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};

/// The clinic of its site.
const CLINIC: &str = "proof";

/// What comes in.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An envelope of a lane.
    Envelope(Lane, Vec<u8>),
    /// The state of the site.
    State(Vec<u8>),
}

/// A step of an alert that somebody beside the board is told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Notified {
    /// The alert.
    pub alert: String,
    /// What happened.
    pub step: String,
    /// Its place in the alert's story.
    pub number: u32,
    /// When the story says that it was.
    pub at: WallTime,
    /// When the notification was made.
    pub made: WallTime,
    /// The row of section 8 that the alert had then.
    pub late_row: Option<u8>,
}

/// A county with a database in a folder, and one site.
pub struct County {
    runtime: Runtime,
    path: PathBuf,
    store: Store,
    rules: Arc<RuleSet>,
    site: SiteId,
}

impl fmt::Debug for County {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("County").field("path", &self.path).finish_non_exhaustive()
    }
}

impl County {
    /// A county that has heard nothing yet.
    ///
    /// # Errors
    /// When its database cannot be made.
    pub fn new(folder: &Path, rules: Arc<RuleSet>, site: SiteId) -> anyhow::Result<Self> {
        let path = folder.join("county.sqlite");
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let store = Store::open(&path)?;
        let county = Self { runtime, path, store, rules, site };
        let every = json!(["low", "medium", "high"]).to_string();
        let steps = json!(["raised", "recurred", "priority_rose", "realarmed", "escalated"]);
        county.write(move |transaction| {
            let sink = params!["proof", every, steps.to_string(), None::<String>];
            transaction.execute("INSERT INTO sink VALUES (?1, ?2, ?3, ?4)", sink)
        })?;
        Ok(county)
    }

    /// It stops and starts again.
    ///
    /// # Errors
    /// When its database cannot be opened.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.store = Store::open(&self.path)?;
        Ok(())
    }

    /// Takes in what came, in one transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub fn take(&self, now: WallTime, came: Vec<Delivery>) -> anyhow::Result<()> {
        let site = || self.site.clone();
        let came: Vec<intake::Delivery> = came
            .into_iter()
            .map(|delivery| match delivery {
                Delivery::Envelope(lane, bytes) => intake::Delivery::Envelope(site(), lane, bytes),
                Delivery::State(bytes) => {
                    intake::Delivery::State { site: site(), bytes, retained: false }
                }
            })
            .collect();
        let rules = Arc::clone(&self.rules);
        self.write(move |transaction| intake::take(transaction, &came, now, &rules).map(drop))
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When the database fails.
    pub fn pass_time(&self, now: WallTime) -> anyhow::Result<()> {
        let passing = alerts::pass_time(&self.store, Arc::clone(&self.rules), now, None);
        self.runtime.block_on(passing)?;
        Ok(())
    }

    /// Goes over what came late where that is due.
    ///
    /// # Errors
    /// When the database fails.
    pub fn judge_late(&self, now: WallTime) -> anyhow::Result<()> {
        self.runtime.block_on(late::judge_due(&self.store, &self.rules, now))?;
        Ok(())
    }

    /// A person does something with an alert; whether it was done.
    ///
    /// # Errors
    /// When the database fails.
    pub fn act(
        &self,
        now: WallTime,
        id: AlertId,
        by: &str,
        action: Action,
    ) -> anyhow::Result<bool> {
        let rules = Arc::clone(&self.rules);
        let acting = act(&self.store, rules, id, by.to_owned(), Deed::Alert(action), now);
        Ok(self.runtime.block_on(acting)?.is_ok())
    }

    /// A patient is known under that key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn admit(&self, now: WallTime, key: &str, mut about: Value) -> anyhow::Result<()> {
        let key = key.to_owned();
        let fields = about.as_object_mut().context("what is known of a patient has fields")?;
        fields.insert("clinic".to_owned(), json!(CLINIC));
        self.write(move |transaction| {
            transaction
                .execute(
                    "INSERT INTO patient VALUES (?1, ?2, ?3, NULL, 1, 'proof', ?4)",
                    params![key, CLINIC, about.to_string(), now.unix_ms()],
                )
                .map(drop)
        })
    }

    /// A device is on a patient from then on.
    ///
    /// # Errors
    /// When it is refused.
    pub fn bind(&self, from: WallTime, device: &str, patient: &str) -> anyhow::Result<()> {
        let asked = json!({
            "site": self.site.as_str(), "device": device, "patient": patient,
            "from": clock::rfc3339(from.unix_ms()), "reason": "admitted",
        });
        let asked: NewBinding = serde_json::from_value(asked)?;
        let clinics = self.clinics();
        self.rebind(from, move |context, evaluation| {
            let made = binding::bind(context.connection, &clinics, &asked, &nurse(), from)
                .map_err(|refused| anyhow!("{refused:?}"))?;
            Ok(evaluation.began(context, &made)?)
        })
    }

    /// It is on nobody from now on.
    ///
    /// # Errors
    /// When it is refused.
    pub fn unbind(&self, now: WallTime, device: &str) -> anyhow::Result<()> {
        let (device, clinics) = (device.to_owned(), self.clinics());
        self.rebind(now, move |context, evaluation| {
            let id: i64 = context.connection.query_row(
                "SELECT id FROM binding WHERE device = ?1 AND until_ms IS NULL",
                [device],
                |row| row.get(0),
            )?;
            let end: BindingEnd = serde_json::from_value(json!({"reason": "moved"}))?;
            let ended = binding::unbind(context.connection, &clinics, id, &end, &nurse(), now)
                .map_err(|refused| anyhow!("{refused:?}"))?;
            Ok(evaluation.ended(context, &ended)?)
        })
    }

    /// What its box is told of its patients.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ward(
        &self,
        now: WallTime,
    ) -> anyhow::Result<(BindingList, BTreeMap<PatientKey, Profile>)> {
        let site = self.site.clone();
        self.read(move |connection| ward(connection, &site, now))
    }

    /// What its box is told that somebody here has in hand.
    ///
    /// # Errors
    /// When the database fails.
    pub fn in_hand(&self, now: WallTime) -> anyhow::Result<BTreeMap<AlertId, InHand>> {
        let of_sites = self.read(move |connection| in_hand::all(connection, now))?;
        let own = of_sites.get(&self.site).into_iter().flatten().cloned();
        Ok(own.map(|alert| (AlertId::from_bytes(alert.id), alert)).collect())
    }

    /// Every alert there ever was, as the API tells it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn alerts(&self) -> anyhow::Result<Vec<Value>> {
        let bodies: Vec<String> = self.read(|connection| {
            connection
                .prepare_cached("SELECT body FROM alert ORDER BY started_ms, id")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        bodies.iter().map(|body| serde_json::from_str(body).context("an alert")).collect()
    }

    /// Ids of late episodes, and of alerts at the box, that are part of an alert with another id, and
    /// that one.
    ///
    /// # Errors
    /// When the database fails.
    pub fn joined(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT alert, joined FROM edge_period WHERE alert <> joined
                     UNION SELECT id, alert FROM alert_joined",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// What somebody beside the board was told, or will be.
    ///
    /// # Errors
    /// When the database fails.
    pub fn notified(&self) -> anyhow::Result<Vec<Notified>> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT alert, step, number, at_ms, made_ms, body ->> 'late_row'
                     FROM notification ORDER BY made_ms, alert, number",
                )?
                .query_map([], |row| {
                    Ok(Notified {
                        alert: row.get(0)?,
                        step: row.get(1)?,
                        number: row.get(2)?,
                        at: WallTime::from_unix_ms(row.get(3)?),
                        made: WallTime::from_unix_ms(row.get(4)?),
                        late_row: row.get(5)?,
                    })
                })?
                .collect()
        })
    }

    fn clinics(&self) -> Clinics {
        Clinics::from([(self.site.clone(), CLINIC.to_owned())])
    }

    fn rebind(
        &self,
        now: WallTime,
        change: impl FnOnce(Context<'_>, &mut Evaluation) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let rules = Arc::clone(&self.rules);
        self.write(move |transaction| {
            let context = Context { connection: transaction, rules: &rules, now };
            let mut evaluation = Evaluation::default();
            match change(context, &mut evaluation) {
                Ok(()) => alerts::store(context, evaluation).map(|_| Ok(())),
                Err(error) => Ok(Err(error)),
            }
        })?
    }

    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        Ok(self.runtime.block_on(self.store.write(change))?)
    }

    fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        Ok(self.runtime.block_on(self.store.read(question))?)
    }
}

fn nurse() -> Caller {
    let (role, kind, scope) = (Role::Nurse, CallerKind::Person, Scope::County);
    Caller { name: "proof".to_owned(), role, kind, scope, given_password: false }
}
