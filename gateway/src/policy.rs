//! What boxes are told to go by: made of the live rules and their bindings, signed, published to a
//! box that says it has something else.
//!
//! Not here: the messages (`uplink_proto::policy`), MQTT ([`crate::ingest`]).
//!
//! # Invariants
//! - versions of a site only grow, also at a county that was restored
//! - a box is told a version once in a connection, and a rule set only if it does not have it
//! - what people have in hand takes a link at most [`IN_HAND_BYTES_A_SECOND`]: until then a box goes
//!   by what it was told before

pub(crate) mod in_hand;

use crate::{
    patients::ward::ward,
    people::hex,
    pki::Identity,
    rule_sets::{Live, LiveRules},
    store::{Store, StoreError},
};
use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use model::{alert::InHand, id::SiteId, time::WallTime};
use rcgen::{KeyPair, SigningKey as _};
use rusqlite::{Connection, OptionalExtension as _, params};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};
use tokio::time::Instant;
use uplink_proto::{
    policy::{HeldPolicy, POLICY_LEN_MAX, Policy, PolicyMessage, RulesHash, SignedPolicy},
    topics::Topic,
};

/// A box may go by a version that this county gave before it was restored; no clock is further off.
const HELD_AHEAD_MS: i64 = 24 * 3_600_000;
/// Each policy carries the whole, with some kB of bindings. A busy ward takes an eighth of a link of
/// 64 kbit/s so; where nothing was told for a while, it is told within a second.
const IN_HAND_BYTES_A_SECOND: usize = 1024;

/// What is around a policy when it is signed: a certificate of some 500 bytes, a signature of 64.
const SIGNED_LEN: usize = 1024;

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
    /// Which rules that version names.
    told_rules: Option<RulesHash>,
    /// What people had in hand by the policy that it was told, and when that may be told anew.
    in_hand: Vec<InHand>,
    in_hand_from: Option<Instant>,
}

/// Tells boxes what to go by.
#[derive(Debug)]
pub(crate) struct Policies {
    store: Store,
    rules: LiveRules,
    signer: Option<Arc<Signer>>,
    heard: BTreeMap<SiteId, Heard>,
    alerts_changed: bool,
}

impl Policies {
    pub(crate) fn new(store: Store, rules: LiveRules, signer: Option<Arc<Signer>>) -> Self {
        Self { store, rules, signer, heard: BTreeMap::new(), alerts_changed: false }
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
        let same = before.filter(|before| before.connection == connection).cloned();
        let heard = match same {
            Some(same) => Heard { held, ..same },
            None => {
                let of_sites = self.store.read(move |county| in_hand::all(county, now)).await?;
                let in_hand = of_sites.get(site).cloned().unwrap_or_default();
                let (told, told_rules, in_hand_from) = (None, None, None);
                Heard { connection, held, told, told_rules, in_hand, in_hand_from }
            }
        };
        self.heard.insert(site.clone(), heard);
        self.answer(site, now).await
    }

    /// Alerts have changed: people may have others in hand.
    pub(crate) fn alerts_changed(&mut self) {
        self.alerts_changed = true;
    }

    /// What boxes are to be told of what people have in hand.
    pub(crate) async fn tell_in_hand(
        &mut self,
        now: WallTime,
        mono: Instant,
    ) -> Result<Vec<Told>, StoreError> {
        if !self.alerts_changed {
            return Ok(Vec::new());
        }
        let mut is_put_off = false;
        let mut of_sites = self.store.read(move |county| in_hand::all(county, now)).await?;
        let sites: Vec<SiteId> = self.heard.keys().cloned().collect();
        let mut all = Vec::new();
        for site in sites {
            let Some(heard) = self.heard.get_mut(&site) else { continue };
            let (told, present) = (heard.in_hand.clone(), of_sites.remove(&site));
            let present = present.unwrap_or_default();
            if told == present {
                continue;
            }
            if heard.in_hand_from.is_some_and(|from| from > mono) {
                is_put_off = true; // It is told what is so by then.
                continue;
            }
            let told = match self.tell_site(&site, present, now).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!(%site, %error, "What people have in hand is told later.");
                    if let Some(heard) = self.heard.get_mut(&site) {
                        heard.in_hand = told;
                    }
                    is_put_off = true;
                    continue;
                }
            };
            if told.is_empty() {
                continue;
            }
            let len: usize = told.iter().map(|told| told.bytes.len()).sum();
            if let Some(heard) = self.heard.get_mut(&site) {
                let ms = len.saturating_mul(1000) / IN_HAND_BYTES_A_SECOND;
                let ms = u64::try_from(ms).unwrap_or(u64::MAX);
                heard.in_hand_from = mono.checked_add(Duration::from_millis(ms));
            }
            all.extend(told);
        }
        self.alerts_changed = is_put_off;
        Ok(all)
    }

    /// What a box is to be told where people have this in hand now, if that is news to it.
    async fn tell_site(
        &mut self,
        site: &SiteId,
        present: Vec<InHand>,
        now: WallTime,
    ) -> Result<Vec<Told>, StoreError> {
        let Some(heard) = self.heard.get_mut(site) else { return Ok(Vec::new()) };
        let (told, fresh) = (heard.in_hand.clone(), present.clone());
        let is_news = move |county: &Connection| in_hand::is_news(county, &told, &fresh);
        if !self.store.read(is_news).await? {
            return Ok(Vec::new());
        }
        if let Some(heard) = self.heard.get_mut(site) {
            heard.in_hand = present;
        }
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
            let (live, in_hand) = (live.clone(), heard.in_hand.clone());
            let present =
                move |county: &Connection| present(county, now, &of, &live, in_hand, held);
            self.store.read(present).await?
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
        let is_under_way = heard.told.is_some_and(|told| told != heard.held.version)
            && heard.told_rules != Some(policy.rules);
        (heard.told, heard.told_rules) = (Some(policy.version), Some(policy.rules));
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
    in_hand: Vec<InHand>,
    held: u64,
) -> rusqlite::Result<Present> {
    let (bindings, mut patients) = ward(connection, site, now)?;
    // Plain data: writing it as JSON cannot fail.
    let json =
        |written: serde_json::Result<String>| written.map_err(|_| rusqlite::Error::InvalidQuery);
    let bindings = json(serde_json::to_string(&bindings))?;
    let all_patients = json(serde_json::to_string(&patients))?;
    let mut policy = Policy {
        site: site.clone(),
        version: 0,
        made_at: now,
        rule_set: live.number,
        rules: live.hash,
        bindings,
        patients: all_patients,
        signals: true,
        in_hand,
    };
    let is_long = |policy: &Policy| policy.encode().len() > POLICY_LEN_MAX - SIGNED_LEN;
    if is_long(&policy) {
        // The county judges what was measured by limits that are over.
        for profile in patients.values_mut() {
            profile.limits.retain(|limit| now < limit.until);
        }
        policy.patients = json(serde_json::to_string(&patients))?;
    }
    if is_long(&policy) {
        // Whose a device is counts for more than that its alert is quiet.
        policy.in_hand.clear();
    }
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
    use rules::{ladder::TimesBySite, rule::RuleSet};
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
            let rules = LiveRules::new(live(1, RULES), TimesBySite::default());
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

    impl County {
        /// An alert as it is in the database.
        async fn alert(&self, number: u8, state: &str, by: Option<&str>) {
            let body = serde_json::json!({
                "recurrences": 0, "acknowledged_by": by, "reason": by.map(|_| "at_bedside"),
                "acknowledged_at": by.map(|_| crate::clock::rfc3339(NOW.unix_ms())),
                "shelved_by": null, "shelved_until": null,
            });
            let id = rules::alert::AlertId::from_bytes([number; 16]).to_string();
            let row = (id, state.to_owned(), body.to_string());
            let store = Store::open(&self.folder.path().join("county.sqlite")).unwrap();
            let put = move |transaction: &rusqlite::Transaction<'_>| {
                transaction.execute(
                    "INSERT OR REPLACE INTO alert
                     VALUES (?1, 'heping-01', 'ecg-01', ?2, 'high', 0, ?3)",
                    row.clone(),
                )
            };
            store.write(put).await.unwrap();
        }
    }

    fn in_hand(told: &[Told]) -> Vec<u8> {
        policy_of(told).in_hand.iter().map(|alert| alert.id[0]).collect()
    }

    fn instant(ms: i64) -> Instant {
        static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *BEGAN + Duration::from_millis(u64::try_from(ms).unwrap())
    }

    /// What the box hears after alerts have changed.
    async fn hears(policies: &mut Policies, ms: i64) -> Option<Vec<u8>> {
        policies.alerts_changed();
        let told = policies.tell_in_hand(later(ms), instant(ms)).await.unwrap();
        assert!(told.len() < 2, "it has the rules");
        (!told.is_empty()).then(|| in_hand(&told))
    }

    #[tokio::test]
    async fn a_box_hears_at_once_who_has_what_in_hand_and_then_no_more_than_a_link_bears() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        county.alert(1, "active_ack", Some("wang")).await;
        county.alert(2, "active_unack", None).await;
        let told = policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap();
        assert_eq!(in_hand(&told), [1]);
        let held = has(&policy_of(&told));
        policies.hear(&site(), 1, held, later(1000)).await.unwrap();
        assert_eq!(hears(&mut policies, 2000).await, None);

        county.alert(2, "active_ack", Some("wang")).await;
        assert_eq!(hears(&mut policies, 3000).await, Some(vec![1, 2]));
        county.alert(3, "unknown", Some("li")).await;
        assert_eq!(hears(&mut policies, 3500).await, None, "what went just now is not through");
        // Nobody has to say again that alerts have changed.
        let told = policies.tell_in_hand(later(5000), instant(5000)).await.unwrap();
        assert_eq!((in_hand(&told), told.len()), (vec![1, 2, 3], 1), "rules travel once");
    }

    #[tokio::test]
    async fn that_an_alert_is_over_is_no_news_for_a_box_and_that_nobody_has_it_is() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        county.alert(1, "active_ack", Some("wang")).await;
        county.alert(2, "active_ack", Some("wang")).await;
        let told = policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap();
        policies.hear(&site(), 1, has(&policy_of(&told)), later(1000)).await.unwrap();
        county.alert(1, "closed", Some("wang")).await;
        assert_eq!(hears(&mut policies, 2000).await, None);
        county.alert(2, "active_unack", None).await;
        assert_eq!(hears(&mut policies, 3000).await, Some(vec![]));
    }

    #[tokio::test]
    async fn what_was_over_when_somebody_saw_it_is_told_for_an_hour() {
        let county = County::new();
        let mut policies = county.policies("county.sqlite");
        let told = policies.hear(&site(), 1, HeldPolicy::default(), NOW).await.unwrap();
        policies.hear(&site(), 1, has(&policy_of(&told)), later(1000)).await.unwrap();
        county.alert(1, "closed", Some("wang")).await;
        let store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
        let act = |transaction: &rusqlite::Transaction<'_>| {
            let what = rules::alert::AlertId::from_bytes([1; 16]).to_string();
            let entry = crate::audit::Entry {
                who: "wang",
                action: "acknowledge",
                what: &what,
                detail: serde_json::json!({}),
            };
            crate::audit::append(transaction, NOW, &entry)
        };
        store.write(act).await.unwrap();
        assert_eq!(hears(&mut policies, 2000).await, Some(vec![1]));
        assert_eq!(hears(&mut policies, 2 * 3_600_000).await, None);
        let told = policies.hear(&site(), 2, HeldPolicy::default(), later(2 * 3_600_000)).await;
        assert_eq!(in_hand(&told.unwrap()), Vec::<u8>::new());
    }

    #[tokio::test]
    async fn bindings_count_for_more_than_what_is_in_hand() {
        let county = County::new();
        let store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
        let alert = InHand {
            id: [1; 16],
            priority: model::alarm::Priority::Low,
            recurrences: 0,
            acknowledged: None,
            shelved: Some(model::alert::Shelved { by: "x".repeat(POLICY_LEN_MAX), until: NOW }),
        };
        let live = county.rules.live();
        let policy =
            store.read(move |of| present(of, NOW, &site(), &live, vec![alert.clone()], 0)).await;
        let Present::New(policy, _) = policy.unwrap() else { panic!("it is new") };
        assert!(policy.in_hand.is_empty());
    }

    /// Patients with a limit in force and sixty that were replaced within the day.
    async fn told_limits(patients: u32) -> Vec<usize> {
        let county = County::new();
        let store = Store::open(&county.folder.path().join("county.sqlite")).unwrap();
        let now_ms = NOW.unix_ms();
        let fill = move |transaction: &rusqlite::Transaction<'_>| {
            for number in 0..patients {
                let (key, device) = (format!("p-{number}"), format!("mon-{number}"));
                transaction.execute(
                    "INSERT INTO patient VALUES (?1, 'x', '{\"clinic\":\"x\"}', NULL, 1, 'wang', 0)",
                    [&key],
                )?;
                transaction.execute(
                    "INSERT INTO binding (site, device, patient, from_ms, version, made_by, made_ms,
                       reason) VALUES (?1, ?2, ?3, 0, 1, 'wang', 0, 'on')",
                    params![site().as_str(), device, key],
                )?;
                for second in 1..62 {
                    let ended_ms = (second > 1).then_some(now_ms - 1000 * (second - 1));
                    transaction.execute(
                        "INSERT INTO patient_limit (patient, rule, value, until_ms, reason, made_by,
                           made_ms, ended_ms) VALUES (?1, 'HR-AD-L', '45', ?2, 'x', 'wang', ?3, ?4)",
                        params![key, now_ms + 1000, now_ms - 1000 * second, ended_ms],
                    )?;
                }
            }
            Ok(())
        };
        store.write(fill).await.unwrap();
        let live = county.rules.live();
        let policy = store.read(move |of| present(of, NOW, &site(), &live, vec![], 0)).await;
        let Present::New(policy, _) = policy.unwrap() else { panic!("it is new") };
        assert!(policy.encode().len() <= POLICY_LEN_MAX - SIGNED_LEN);
        let patients: BTreeMap<String, rules::population::Profile> =
            serde_json::from_str(&policy.patients).unwrap();
        patients.values().map(|profile| profile.limits.len()).collect()
    }

    #[tokio::test]
    async fn a_box_hears_of_limits_that_are_over_where_there_is_room() {
        assert_eq!(told_limits(1).await, [61]);
        assert_eq!(told_limits(20).await, [1; 20], "bindings count for more");
    }
}
