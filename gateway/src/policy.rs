//! What boxes are told to go by: made of the live rules and their bindings, signed, published to a
//! box that says it has something else.
//!
//! Not here: the messages (`uplink_proto::policy`), MQTT ([`crate::ingest`]).
//!
//! # Invariants
//! - versions of a site only grow, also at a county that was restored
//! - a box is told a version once in a connection, and a rule set only if it does not have it

use crate::{
    patients::ward::ward,
    people::hex,
    pki::Identity,
    rule_sets::{Live, LiveRules},
    store::{Store, StoreError},
};
use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use model::{id::SiteId, time::WallTime};
use rcgen::{KeyPair, SigningKey as _};
use rusqlite::{Connection, OptionalExtension as _, params};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{collections::BTreeMap, fs, sync::Arc};
use uplink_proto::{
    policy::{HeldPolicy, POLICY_LEN_MAX, Policy, PolicyMessage, SignedPolicy},
    topics::Topic,
};

/// A box may go by a version that this county gave before it was restored; no clock is further off.
const HELD_AHEAD_MS: i64 = 24 * 3_600_000;

/// The key that boxes believe, because the county's CA certified it for that.
#[derive(Debug)]
pub(crate) struct Signer {
    certificate: Vec<u8>,
    key: KeyPair,
}

impl Signer {
    pub(crate) fn read(identity: &Identity) -> anyhow::Result<Self> {
        let read = |path: &std::path::Path| format!("reading {}", path.display());
        let pem = fs::read_to_string(&identity.key).with_context(|| read(&identity.key))?;
        let certificate =
            CertificateDer::from_pem_file(&identity.cert).with_context(|| read(&identity.cert))?;
        let key = KeyPair::from_pem(&pem).with_context(|| read(&identity.key))?;
        Ok(Self { certificate: certificate.to_vec(), key })
    }

    fn sign(&self, policy: &Policy) -> anyhow::Result<PolicyMessage> {
        let payload = policy.encode();
        let signature = self.key.sign(&payload).context("signing a policy")?;
        let certificate = self.certificate.clone();
        Ok(PolicyMessage::Signed(SignedPolicy { certificate, signature, payload }))
    }
}

/// A message for a box.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) topic: String,
    pub(crate) retain: bool,
    pub(crate) bytes: Vec<u8>,
}

/// What a box said last of its policy.
#[derive(Clone, Debug)]
struct Heard {
    connection: u64,
    held: HeldPolicy,
    /// Version it was told in this connection.
    told: Option<u64>,
}

/// Tells boxes what to go by.
#[derive(Debug)]
pub(crate) struct Policies {
    store: Store,
    rules: LiveRules,
    signer: Option<Arc<Signer>>,
    heard: BTreeMap<SiteId, Heard>,
}

impl Policies {
    pub(crate) fn new(store: Store, rules: LiveRules, signer: Option<Arc<Signer>>) -> Self {
        Self { store, rules, signer, heard: BTreeMap::new() }
    }

    /// A box said what it goes by: what it is to be told.
    pub(crate) async fn hear(
        &mut self,
        site: &SiteId,
        connection: u64,
        held: HeldPolicy,
        now: WallTime,
    ) -> Result<Vec<Told>, StoreError> {
        let before = self.heard.get(site);
        let refused = before.map_or("", |before| before.held.refused.as_str());
        if !held.refused.is_empty() && held.refused != refused {
            tracing::error!(%site, error = held.refused, "A box refuses its policy.");
        }
        let same = before.filter(|before| before.connection == connection);
        let told = same.and_then(|before| before.told);
        self.heard.insert(site.clone(), Heard { connection, held, told });
        self.answer(site, now).await
    }

    /// Something of what boxes go by has changed: what those that are heard are to be told.
    pub(crate) async fn changed(&mut self, now: WallTime) -> Result<Vec<Told>, StoreError> {
        let sites: Vec<SiteId> = self.heard.keys().cloned().collect();
        let mut all = Vec::new();
        for site in sites {
            all.extend(self.answer(&site, now).await?);
        }
        Ok(all)
    }

    async fn answer(&mut self, site: &SiteId, now: WallTime) -> Result<Vec<Told>, StoreError> {
        let (Some(signer), Some(heard)) = (self.signer.clone(), self.heard.get_mut(site)) else {
            return Ok(Vec::new());
        };
        let (live, held, of) = (self.rules.live(), heard.held.version, site.clone());
        let policy = {
            let live = live.clone();
            self.store.read(move |connection| present(connection, now, &of, &live, held)).await?
        };
        let policy = match policy {
            Present::Same(policy) => policy,
            Present::New(policy, content) => {
                let kept = policy.clone();
                self.store.write(move |transaction| keep(transaction, &kept, &content)).await?;
                policy
            }
        };
        if heard.held.version == policy.version || heard.told == Some(policy.version) {
            return Ok(Vec::new());
        }
        let message = match signer.sign(&policy) {
            Ok(message) => message.encode(),
            Err(error) => {
                tracing::error!(%site, error = format!("{error:#}"), "A policy cannot be signed.");
                return Ok(Vec::new());
            }
        };
        if message.len() > POLICY_LEN_MAX {
            tracing::error!(%site, len = message.len(),
                "A site has more bindings than a policy carries; end those of devices that are gone.");
            return Ok(Vec::new());
        }
        // What it was told and has not spoken of may have replaced the rules it said it has.
        let is_under_way = heard.told.is_some_and(|told| told != heard.held.version);
        heard.told = Some(policy.version);
        let topic = Topic::Config(site.clone()).name();
        let mut told = vec![Told { topic: topic.clone(), retain: true, bytes: message }];
        if is_under_way || heard.held.rules != Some(policy.rules) {
            let bytes = PolicyMessage::Rules(live.text.as_bytes().to_vec()).encode();
            told.push(Told { topic, retain: false, bytes });
        }
        Ok(told)
    }
}

/// The policy of a site, as it was given last or anew.
enum Present {
    Same(Policy),
    New(Policy, String),
}

fn present(
    connection: &Connection,
    now: WallTime,
    site: &SiteId,
    live: &Live,
    held: u64,
) -> rusqlite::Result<Present> {
    let (bindings, patients) = ward(connection, site, now)?;
    // Plain data: writing it as JSON cannot fail.
    let json =
        |written: serde_json::Result<String>| written.map_err(|_| rusqlite::Error::InvalidQuery);
    let bindings = json(serde_json::to_string(&bindings))?;
    let patients = json(serde_json::to_string(&patients))?;
    let mut policy = Policy {
        site: site.clone(),
        version: 0,
        made_at: now,
        rule_set: live.number,
        rules: live.hash,
        bindings,
        patients,
        signals: true,
    };
    let content = content(&policy);
    let last: Option<(i64, String, i64)> = connection
        .prepare_cached("SELECT version, content, made_ms FROM site_policy WHERE site = ?1")?
        .query_row([site.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let now_ms = now.unix_ms();
    let believed = now_ms.saturating_add(HELD_AHEAD_MS);
    let held = i64::try_from(held).ok().filter(|held| *held <= believed).unwrap_or_default();
    let last_version = last.as_ref().map_or(0, |(version, ..)| *version);
    if let Some((version, _, made_ms)) = last.filter(|(_, last, _)| *last == content)
        && version >= held
    {
        policy.version = u64::try_from(version).unwrap_or_default();
        policy.made_at = WallTime::from_unix_ms(made_ms);
        return Ok(Present::Same(policy));
    }
    // A clock that goes on while a county is restored: its numbers are not given twice.
    let version = last_version.max(held).saturating_add(1).max(now_ms);
    policy.version = u64::try_from(version).unwrap_or_default();
    Ok(Present::New(policy, content))
}

fn keep(connection: &Connection, policy: &Policy, content: &str) -> rusqlite::Result<()> {
    let version = i64::try_from(policy.version).unwrap_or(i64::MAX);
    connection
        .execute(
            "INSERT OR REPLACE INTO site_policy VALUES (?1, ?2, ?3, ?4)",
            params![policy.site.as_str(), version, policy.made_at.unix_ms(), content],
        )
        .map(drop)
}

/// Names what a policy says, whatever its number and time.
fn content(policy: &Policy) -> String {
    let bytes =
        Policy { version: 0, made_at: WallTime::from_unix_ms(0), ..policy.clone() }.encode();
    hex(digest(&SHA256, &bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use rules::{ladder::Times, rule::RuleSet};
    use tempfile::TempDir;

    const NOW: WallTime = WallTime::from_unix_ms(1_795_335_300_000);
    const RULES: &str = include_str!("../../configs/rules/default.json");

    struct County {
        folder: TempDir,
        rules: LiveRules,
    }

    impl County {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            Pki::at(&folder.path().join("pki")).init(&[]).unwrap();
            let rules = LiveRules::new(live(1, RULES), Times::default());
            Self { folder, rules }
        }

        /// As after a start of the gateway.
        fn policies(&self, database: &str) -> Policies {
            let store = Store::open(&self.folder.path().join(database)).unwrap();
            let pki = Pki::at(&self.folder.path().join("pki"));
            let signer = Signer::read(&pki.policy()).unwrap();
            Policies::new(store, self.rules.clone(), Some(Arc::new(signer)))
        }
    }

    fn live(number: u64, text: &str) -> Live {
        let entry = i64::try_from(number).unwrap();
        Live { entry, ..Live::new(number, RuleSet::from_json(text).unwrap(), text) }
    }

    fn site() -> SiteId {
        SiteId::new("heping-01").unwrap()
    }

    fn later(ms: i64) -> WallTime {
        WallTime::from_unix_ms(NOW.unix_ms() + ms)
    }

    fn policy_of(told: &[Told]) -> Policy {
        let PolicyMessage::Signed(signed) = PolicyMessage::decode(&told[0].bytes).unwrap() else {
            panic!("{told:?}")
        };
        assert!(told[0].retain);
        Policy::decode(&signed.payload).unwrap()
    }

    fn has(policy: &Policy) -> HeldPolicy {
        let (version, rules) = (policy.version, Some(policy.rules));
        HeldPolicy { version, rules, refused: String::new() }
    }

    #[tokio::test]
    async fn a_box_is_told_what_it_does_not_have_and_once_in_a_connection() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        let told = policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap();
        let policy = policy_of(&told);
        assert_eq!((told.len(), policy.rule_set), (2, 1));
        let rules = PolicyMessage::Rules(RULES.as_bytes().to_vec());
        assert_eq!(PolicyMessage::decode(&told[1].bytes).unwrap(), rules);
        assert!(!told[1].retain);

        let again = policies.hear(&site(), 1, HeldPolicy::default(), later(30_000)).await.unwrap();
        assert!(again.is_empty(), "{again:?}");
        let back = policies.hear(&site(), 2, HeldPolicy::default(), later(60_000)).await.unwrap();
        assert_eq!(policy_of(&back), policy);
        assert!(policies.hear(&site(), 2, has(&policy), later(90_000)).await.unwrap().is_empty());
        // The county starts anew: nothing has changed.
        let mut policies = county.policies("county.sqlite");
        assert!(policies.hear(&site(), 2, has(&policy), later(99_000)).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn another_live_rule_set_is_told_at_once_to_those_that_are_heard() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        let first =
            policy_of(&policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap());
        policies.hear(&site(), 1, has(&first), later(1000)).await.unwrap();
        assert!(policies.changed(later(2000)).await.unwrap().is_empty());

        county.rules.put(live(2, &format!("{RULES}\n")));
        let told = policies.changed(later(3000)).await.unwrap();
        let second = policy_of(&told);
        assert_eq!((told.len(), second.rule_set), (2, 2));
        assert!(second.version > first.version);
        // Approved again under another number: the same text need not travel.
        policies.hear(&site(), 1, has(&second), later(4000)).await.unwrap();
        county.rules.put(live(3, &format!("{RULES}\n")));
        let told = policies.changed(later(5000)).await.unwrap();
        assert_eq!((told.len(), policy_of(&told).rule_set), (1, 3));
    }

    #[tokio::test]
    async fn versions_grow_at_a_county_that_was_restored_and_whatever_a_box_says() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        let told = policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap();
        let held =
            HeldPolicy { version: policy_of(&told).version + 5000, ..has(&policy_of(&told)) };
        // A backup of before this site was known.
        let mut policies = county.policies("restored.sqlite");
        let told = policies.hear(&site(), 2, held.clone(), later(1000)).await.unwrap();
        assert_eq!(policy_of(&told).version, held.version + 1);
        let hostile = HeldPolicy { version: u64::MAX, ..held };
        let told = policies.hear(&site(), 3, hostile, later(9000)).await.unwrap();
        assert!(policy_of(&told).version < u64::try_from(later(HELD_AHEAD_MS).unix_ms()).unwrap());
    }
}
