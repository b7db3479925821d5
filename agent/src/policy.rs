//! What the county told this box to go by: verified, kept on disk, handed to whoever evaluates.
//!
//! Not here: the messages (`uplink_proto::policy`), what rules and bindings mean (`rules`).
//!
//! # Invariants
//! - nothing is gone by that the county's policy key did not sign for this site, after a restart too
//! - a policy and the rule set that it names are in force together, or not at all
//! - the disk has a whole one at every moment: a new one is written beside, and the one before stays
//! - rules are written when they are others than before, twice, because every policy rests on them

use crate::status::Board;
use aws_lc_rs::digest::{SHA256, digest};
use model::{id::SiteId, time::WallTime};
use rules::rule::{RuleSet, RuleSetError};
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::sync::watch;
use uplink_proto::policy::{
    HeldPolicy, POLICY_LEN_MAX, Policy, PolicyError, PolicyMessage, RULES_LEN_MAX, RulesHash,
    SignedPolicy,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// id-kp-codeSigning, 1.3.6.1.5.5.7.3.3 (RFC 5280, section 4.2.1.12). Certificates of boxes, broker
/// and board do not have it: none of them can sign a policy.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// Files in the folder `policy` of the data folder.
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const FRESH: &str = "fresh";
const DAMAGED: &str = "damaged";
/// Texts of rules, under their hashes; each twice, for a sector may go bad.
const RULES: &str = "rules-";
const COPIES: [&str; 2] = ["a", "b"];
/// Length of the message, before the message; an agent of before wrote the rules behind it.
const HEAD_LEN: usize = 4;

/// What this box goes by.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) policy: Policy,
    pub(crate) rules: Arc<RuleSet>,
    /// Text of the rules: the next policy may name the same.
    text: Vec<u8>,
}

/// Why a policy was not taken.
#[derive(Debug, Error)]
enum RefusedPolicyError {
    #[error(
        "a policy is not signed by the county, {0:?}; the county has to look at who publishes there"
    )]
    Signature(webpki::Error),
    #[error("{path} cannot be read; copy the county's ca.crt there")]
    Ca {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("{0}")]
    Policy(#[from] PolicyError),
    #[error("the rules of the county are not understood; install the newer agent: {0}")]
    Rules(#[from] RuleSetError),
    #[error("the policy cannot be stored, {0}; check the disk")]
    Store(io::Error),
}

/// Keeps the policy of this box.
#[derive(Debug)]
pub(crate) struct PolicyKeeper {
    site: SiteId,
    ca: PathBuf,
    folder: PathBuf,
    in_force: watch::Sender<Option<Arc<InForce>>>,
    /// Its rule set is on the way.
    waiting: Option<(SignedPolicy, Policy)>,
    /// Why the last one was refused; empty when it was taken.
    refused: String,
    board: Arc<Board>,
}

impl PolicyKeeper {
    /// Opens what is on disk; a new folder has nothing.
    pub(crate) fn open(site: SiteId, ca: PathBuf, data_dir: &Path, board: Arc<Board>) -> Self {
        let folder = data_dir.join("policy");
        let keeper = Self {
            site,
            ca,
            folder,
            in_force: watch::channel(None).0,
            waiting: None,
            refused: String::new(),
            board,
        };
        let found = keeper.load(CURRENT).or_else(|| keeper.load(PREVIOUS));
        keeper.in_force.send_replace(found.map(Arc::new));
        keeper.tell_board();
        keeper
    }

    /// What is in force, now and whenever it changes.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<Arc<InForce>>> {
        self.in_force.subscribe()
    }

    /// What the county hears of it.
    pub(crate) fn held(&self) -> HeldPolicy {
        let in_force = self.in_force.borrow();
        let policy = in_force.as_ref().map(|in_force| &in_force.policy);
        HeldPolicy {
            version: policy.map_or(0, |policy| policy.version),
            rules: policy.map(|policy| policy.rules),
            refused: self.refused.clone(),
        }
    }

    /// Takes in a message of the config topic. What is refused changes nothing and is told once.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let taken = match PolicyMessage::decode(bytes) {
            Ok(PolicyMessage::Signed(signed)) => self.take_signed(signed),
            Ok(PolicyMessage::Rules(text)) => self.take_rules(text),
            Err(error) => Err(error.into()),
        };
        let refused = taken.err().map(|error| error.to_string()).unwrap_or_default();
        if refused != self.refused {
            if !refused.is_empty() {
                tracing::warn!(error = refused, "A policy was refused.");
            }
            self.refused = refused;
            self.tell_board();
        }
    }

    fn take_signed(&mut self, signed: SignedPolicy) -> Result<(), RefusedPolicyError> {
        let policy = self.verified(&signed)?;
        let held = self.in_force.borrow().clone();
        if !policy.is_news(&self.site, held.as_ref().map(|held| &held.policy))? {
            return Ok(());
        }
        if let Some((_, waiting)) = &self.waiting {
            policy.is_news(&self.site, Some(waiting))?;
        }
        match held.filter(|held| held.policy.rules == policy.rules) {
            Some(held) => {
                let (rules, text) = (Arc::clone(&held.rules), held.text.clone());
                self.put_in_force(&signed, InForce { policy, rules, text })
            }
            None => {
                self.waiting = Some((signed, policy));
                Ok(())
            }
        }
    }

    /// A rule set nobody waits for is one that came twice.
    fn take_rules(&mut self, text: Vec<u8>) -> Result<(), RefusedPolicyError> {
        let hash = sha256(&text);
        let Some((signed, policy)) = self.waiting.take_if(|(_, policy)| policy.rules == hash)
        else {
            return Ok(());
        };
        let rules = Arc::new(read_rules(&text)?);
        self.put_in_force(&signed, InForce { policy, rules, text })
    }

    fn put_in_force(
        &mut self,
        signed: &SignedPolicy,
        in_force: InForce,
    ) -> Result<(), RefusedPolicyError> {
        // The county signed it: it holds, and is told where it could not be stored.
        let stored = store(&self.folder, signed, in_force.policy.rules, &in_force.text);
        let stored = stored.map_err(RefusedPolicyError::Store);
        let Policy { version, rule_set, signals, .. } = in_force.policy;
        tracing::info!(version, rule_set, signals, "A policy of the county is in force.");
        self.waiting = None;
        self.in_force.send_replace(Some(Arc::new(in_force)));
        self.tell_board();
        stored
    }

    /// The policy, if the county signed it. The certificate must have been valid when the county
    /// made the policy, not now: the clock of a box may be anything.
    fn verified(&self, signed: &SignedPolicy) -> Result<Policy, RefusedPolicyError> {
        let policy = Policy::decode(&signed.payload)?;
        let ca = CertificateDer::from_pem_file(&self.ca)
            .map_err(|source| RefusedPolicyError::Ca { path: self.ca.clone(), source })?;
        verify(&ca, signed, policy.made_at).map_err(RefusedPolicyError::Signature)?;
        Ok(policy)
    }

    fn load(&self, name: &str) -> Option<InForce> {
        let path = self.folder.join(name);
        let bytes = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "A policy cannot be read.");
                return None;
            }
            Ok(bytes) => bytes,
        };
        let found = self.read_back(&bytes);
        // Without the county's CA nobody can tell; it may be there at the next start.
        if found.is_none() && CertificateDer::from_pem_file(&self.ca).is_ok() {
            tracing::error!(path = %path.display(),
                "A stored policy is damaged or not of this county; the one before is used.");
            // It must not become the one before.
            drop(fs::rename(&path, self.folder.join(DAMAGED)));
        }
        found
    }

    fn read_back(&self, bytes: &[u8]) -> Option<InForce> {
        let (signed, text) = parts(bytes)?;
        let policy = self.verified(&signed).ok()?;
        let text = match text {
            [] => stored_rules(&self.folder, policy.rules)?,
            _ => text.to_vec(),
        };
        let is_own = policy.is_news(&self.site, None).is_ok() && sha256(&text) == policy.rules;
        let rules = Arc::new(read_rules(&text).ok().filter(|_| is_own)?);
        Some(InForce { policy, rules, text })
    }

    fn tell_board(&self) {
        let in_force = self.in_force.borrow();
        let policy = in_force.as_ref().map(|in_force| &in_force.policy);
        let version = policy.map(|policy| (policy.version, policy.rule_set));
        self.board.policy(version, &self.refused);
    }
}

/// Whether a key that the county's CA certified for this signed the payload.
fn verify(
    ca: &CertificateDer<'_>,
    signed: &SignedPolicy,
    made_at: WallTime,
) -> Result<(), webpki::Error> {
    let certificate = CertificateDer::from(signed.certificate.as_slice());
    let signer = EndEntityCert::try_from(&certificate)?;
    let seconds = u64::try_from(made_at.unix_ms() / 1000).unwrap_or_default();
    signer.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor_from_trusted_cert(ca)?],
        &[],
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        KeyUsage::required(CODE_SIGNING),
        None,
        None,
    )?;
    signer.verify_signature(webpki::aws_lc_rs::ED25519, &signed.payload, &signed.signature)
}

fn read_rules(text: &[u8]) -> Result<RuleSet, RuleSetError> {
    // What is no UTF-8 is no JSON either, and told as that.
    RuleSet::from_json(&String::from_utf8_lossy(text)).map(RuleSet::at_the_box)
}

fn sha256(bytes: &[u8]) -> RulesHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(HEAD_LEN + POLICY_LEN_MAX + RULES_LEN_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a copy of the rules of that hash is.
fn rules_file(folder: &Path, hash: RulesHash, copy: &str) -> PathBuf {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{RULES}{hash}-{copy}"))
}

/// The rules of that hash, from whichever copy is whole.
fn stored_rules(folder: &Path, hash: RulesHash) -> Option<Vec<u8>> {
    let copies = COPIES.iter().map(|copy| read(&rules_file(folder, hash, copy)));
    copies.flatten().find(|text| sha256(text) == hash)
}

/// Writes each copy that is not there and whole.
fn store_rules(folder: &Path, hash: RulesHash, text: &[u8]) -> io::Result<()> {
    for copy in COPIES {
        let path = rules_file(folder, hash, copy);
        if !read(&path).is_ok_and(|stored| stored == text) {
            let fresh = folder.join(FRESH);
            let mut file = File::create(&fresh)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(())
}

/// The rules that a stored policy names, whoever signed it; none where there is none or it is torn.
fn named_rules(path: &Path) -> io::Result<Option<RulesHash>> {
    let bytes = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let named = parts(&bytes).and_then(|(signed, _)| Policy::decode(&signed.payload).ok());
    Ok(named.map(|policy| policy.rules))
}

/// A stored policy and the text behind it.
fn parts(bytes: &[u8]) -> Option<(SignedPolicy, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (message, text) = rest.split_at_checked(len)?;
    match PolicyMessage::decode(message) {
        Ok(PolicyMessage::Signed(signed)) => Some((signed, text)),
        _ => None,
    }
}

/// Rules that neither policy on disk names.
fn forget_rules(folder: &Path) -> io::Result<()> {
    let mut kept = Vec::new();
    for name in [CURRENT, PREVIOUS] {
        let hash = named_rules(&folder.join(name))?;
        kept.extend(
            hash.into_iter().flat_map(|hash| COPIES.map(|it| rules_file(folder, hash, it))),
        );
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(RULES) && !kept.contains(&entry.path()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Written beside and renamed: whenever the power goes there is a whole one, of now or of before.
fn store(folder: &Path, signed: &SignedPolicy, hash: RulesHash, rules: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    store_rules(folder, hash, rules)?;
    let message = PolicyMessage::Signed(signed.clone()).encode();
    let len = u32::try_from(message.len()).map_err(io::Error::other)?;
    let [current, previous, fresh] = [CURRENT, PREVIOUS, FRESH].map(|name| folder.join(name));
    let mut file = File::create(&fresh)?;
    file.write_all(&len.to_be_bytes())?;
    file.write_all(&message)?;
    file.sync_all()?;
    match fs::rename(&current, &previous) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    fs::rename(&fresh, &current)?;
    File::open(folder)?.sync_all()?;
    if let Err(error) = forget_rules(folder) {
        tracing::warn!(%error, "Rules that no policy names cannot be removed.");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
