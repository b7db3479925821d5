//! Only what the county signed for this box is gone by, whatever becomes of the power.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ED25519, SigningKey as _,
};
use tempfile::TempDir;

const DEFAULT_RULES: &str = include_str!("../../../configs/rules/default.json");
const MADE_AT: WallTime = WallTime::from_unix_ms(1_795_335_300_000);

/// A county with its CA.
struct County {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl County {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::from_ca_cert_pem(&ca, key).unwrap(), ca }
    }

    /// Signs with a key that the CA certified for that.
    fn sign(&self, policy: &Policy, usage: ExtendedKeyUsagePurpose) -> SignedPolicy {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let payload = policy.encode();
        SignedPolicy { certificate, signature: key.sign(&payload).unwrap(), payload }
    }

    fn says(&self, policy: &Policy) -> Vec<u8> {
        let signed = self.sign(policy, ExtendedKeyUsagePurpose::CodeSigning);
        PolicyMessage::Signed(signed).encode()
    }
}

struct Bench {
    county: County,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let (county, folder) = (County::new(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("ca.crt"), &county.ca).unwrap();
        Self { county, folder }
    }

    /// The agent starts.
    fn keeper(&self) -> PolicyKeeper {
        let config = crate::config::parse(CONFIG, Path::new("")).unwrap();
        let board = Arc::new(Board::new(&config));
        PolicyKeeper::open(site(), self.folder.path().join("ca.crt"), self.folder.path(), board)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("policy").join(name)
    }
}

const CONFIG: &str = r#"
site = "heping-01"
data_dir = "data"
[uplink]
broker = "broker.county.example:8883"
ca = "ca.crt"
cert = "heping-01.crt"
key = "heping-01.key"
[[device]]
id = "bp-01"
driver = "tm2655"
port = "/dev/ttyUSB1"
"#;

fn site() -> SiteId {
    SiteId::new("heping-01").unwrap()
}

fn policy(version: u64) -> Policy {
    Policy {
        site: site(),
        version,
        made_at: MADE_AT,
        rule_set: 1,
        rules: sha256(DEFAULT_RULES.as_bytes()),
        bindings: format!("{{\"version\":{version},\"bindings\":[]}}"),
        patients: "{}".into(),
        signals: true,
        in_hand: Vec::new(),
    }
}

fn rules() -> Vec<u8> {
    PolicyMessage::Rules(DEFAULT_RULES.as_bytes().to_vec()).encode()
}

#[track_caller]
fn check(keeper: &PolicyKeeper, version: u64, refused: &str) {
    let held = keeper.held();
    assert_eq!(held.version, version, "{held:?}");
    assert!(held.refused.contains(refused), "{held:?}");
    assert_eq!(held.refused.is_empty(), refused.is_empty(), "{held:?}");
}

#[test]
fn a_policy_is_in_force_with_its_rules_and_after_a_restart() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    let in_force = keeper.follow();
    check(&keeper, 0, "");
    keeper.take(&bench.county.says(&policy(1)));
    check(&keeper, 0, "");
    keeper.take(&rules());
    check(&keeper, 1, "");
    assert_eq!(in_force.borrow().as_ref().unwrap().rules.version(), "0.2-draft");
    // The next one names the same rules: they need not come again.
    keeper.take(&bench.county.says(&policy(2)));
    check(&keeper, 2, "");
    let keeper = bench.keeper();
    check(&keeper, 2, "");
    assert_eq!(keeper.follow().borrow().as_ref().unwrap().policy, policy(2));
}

#[test]
fn what_the_county_did_not_sign_for_this_box_is_refused() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(5)));
    keeper.take(&rules());
    check(&keeper, 5, "");

    // A box's own certificate, of the same CA.
    let by_a_box = bench.county.sign(&policy(6), ExtendedKeyUsagePurpose::ClientAuth);
    keeper.take(&PolicyMessage::Signed(by_a_box).encode());
    check(&keeper, 5, "not signed by the county");
    keeper.take(&County::new().says(&policy(6)));
    check(&keeper, 5, "not signed by the county");
    let mut altered = bench.county.sign(&policy(6), ExtendedKeyUsagePurpose::CodeSigning);
    altered.payload = Policy { signals: false, ..policy(6) }.encode();
    keeper.take(&PolicyMessage::Signed(altered).encode());
    check(&keeper, 5, "not signed by the county");

    keeper.take(&bench.county.says(&policy(4)));
    check(&keeper, 5, "is older than 5");
    let other = Policy { site: SiteId::new("other").unwrap(), ..policy(6) };
    keeper.take(&bench.county.says(&other));
    check(&keeper, 5, "is for the site other");
    keeper.take(&bench.county.says(&Policy { signals: false, ..policy(5) }));
    check(&keeper, 5, "has the number 5 already");
    keeper.take(b"no policy");
    check(&keeper, 5, "not understood");

    keeper.take(&bench.county.says(&policy(5)));
    check(&keeper, 5, "");
    check(&bench.keeper(), 5, "");
}

#[test]
fn rules_that_no_policy_names_change_nothing() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&rules());
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&PolicyMessage::Rules(b"{}".to_vec()).encode());
    check(&keeper, 0, "");
    let none = Policy { rules: sha256(b"{}"), ..policy(2) };
    keeper.take(&bench.county.says(&none));
    keeper.take(&PolicyMessage::Rules(b"{}".to_vec()).encode());
    check(&keeper, 0, "install the newer agent");
}

#[test]
fn a_file_torn_anywhere_leaves_the_policy_of_before() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    keeper.take(&bench.county.says(&policy(2)));
    let (whole, before) =
        (fs::read(bench.file(CURRENT)).unwrap(), fs::read(bench.file(PREVIOUS)).unwrap());
    let cuts = (0..HEAD_LEN).chain((HEAD_LEN..whole.len()).step_by(97)).chain([whole.len() - 1]);
    for cut in cuts {
        fs::write(bench.file(CURRENT), &whole[..cut]).unwrap();
        fs::write(bench.file(PREVIOUS), &before).unwrap();
        check(&bench.keeper(), 1, "");
        // What was torn is out of the way of the next one.
        let mut keeper = bench.keeper();
        keeper.take(&bench.county.says(&policy(2)));
        check(&bench.keeper(), 2, "");
        assert_eq!(fs::read(bench.file(PREVIOUS)).unwrap(), before, "{cut}");
    }
    for place in (0..whole.len()).step_by(13) {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        fs::write(bench.file(CURRENT), &altered).unwrap();
        check(&bench.keeper(), 1, "");
        drop(fs::rename(bench.file(CURRENT), bench.file(DAMAGED)));
    }
}

#[test]
fn killed_between_any_two_steps_of_storing_a_whole_policy_is_there() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    // Before the fresh one was whole, and before the current one made room for it.
    fs::write(bench.file(FRESH), b"half of it").unwrap();
    check(&bench.keeper(), 1, "");
    // Before the fresh one took its place.
    fs::rename(bench.file(CURRENT), bench.file(PREVIOUS)).unwrap();
    let mut keeper = bench.keeper();
    check(&keeper, 1, "");
    keeper.take(&bench.county.says(&policy(2)));
    check(&bench.keeper(), 2, "");
}

/// Length of each file in the folder of the policy, and when it was written.
type Files = std::collections::BTreeMap<String, (u64, std::time::SystemTime)>;

fn files(bench: &Bench) -> Files {
    let all = fs::read_dir(bench.file("")).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let about = entry.metadata().unwrap();
        (entry.file_name().into_string().unwrap(), (about.len(), about.modified().unwrap()))
    });
    all.collect()
}

/// Those of them that have rules.
fn texts(bench: &Bench) -> Files {
    files(bench).into_iter().filter(|(name, _)| name.starts_with(RULES)).collect()
}

#[test]
fn rules_are_written_when_they_change_and_not_with_each_policy() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    let first = texts(&bench);
    let len = u64::try_from(DEFAULT_RULES.len()).unwrap();
    assert_eq!(first.values().map(|(len, _)| *len).collect::<Vec<_>>(), [len, len]);
    keeper.take(&bench.county.says(&policy(2)));
    assert_eq!(texts(&bench), first, "they were not touched");
    let (written, _) = files(&bench)[CURRENT];
    assert!(written < 1024, "{written} bytes beside {len} of rules");

    // Other rules: those of the policy before stay, until it is forgotten.
    let other = DEFAULT_RULES.replace("0.2-draft", "0.3-draft");
    let next = |version| Policy { rules: sha256(other.as_bytes()), ..policy(version) };
    keeper.take(&bench.county.says(&next(3)));
    keeper.take(&PolicyMessage::Rules(other.clone().into_bytes()).encode());
    assert_eq!(texts(&bench).len(), 4);
    fs::remove_file(bench.file(CURRENT)).unwrap();
    check(&bench.keeper(), 2, "");
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&next(3)));
    keeper.take(&PolicyMessage::Rules(other.clone().into_bytes()).encode());
    keeper.take(&bench.county.says(&next(4)));
    assert_eq!(texts(&bench).len(), 2);
    let keeper = bench.keeper();
    check(&keeper, 4, "");
    assert_eq!(keeper.follow().borrow().as_ref().unwrap().rules.version(), "0.3-draft");
}

#[test]
fn what_the_policy_before_on_disk_needs_stays_whatever_was_in_force() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    // The next one, with other rules, is in force and not on disk.
    let other = DEFAULT_RULES.replace("0.2-draft", "0.3-draft");
    let next = |version| Policy { rules: sha256(other.as_bytes()), ..policy(version) };
    fs::create_dir(bench.file(FRESH)).unwrap();
    keeper.take(&bench.county.says(&next(2)));
    keeper.take(&PolicyMessage::Rules(other.clone().into_bytes()).encode());
    check(&keeper, 2, "cannot be stored");
    fs::remove_dir(bench.file(FRESH)).unwrap();
    keeper.take(&bench.county.says(&next(3)));
    check(&bench.keeper(), 3, "");
    fs::write(bench.file(CURRENT), "torn").unwrap();
    check(&bench.keeper(), 1, "");
}

#[test]
fn a_policy_that_is_on_disk_is_stored_whatever_cannot_be_removed() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    fs::create_dir_all(bench.file("rules-of-nobody")).unwrap();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    check(&keeper, 1, "");
    check(&bench.keeper(), 1, "");
}

#[test]
fn a_damaged_copy_of_the_rules_costs_nothing_and_is_written_again() {
    let bench = Bench::new();
    let mut keeper = bench.keeper();
    keeper.take(&bench.county.says(&policy(1)));
    keeper.take(&rules());
    let hash = sha256(DEFAULT_RULES.as_bytes());
    let copies = COPIES.map(|copy| rules_file(&bench.file(""), hash, copy));
    for copy in &copies {
        let whole = fs::read(copy).unwrap();
        fs::write(copy, &whole[..whole.len() - 1]).unwrap();
        let mut keeper = bench.keeper();
        let held = keeper.held().version;
        assert!(held > 0, "the other copy is whole");
        keeper.take(&bench.county.says(&policy(held + 1)));
        assert_eq!(fs::read(copy).unwrap(), whole);
    }
    for copy in &copies {
        fs::write(copy, "{}").unwrap();
    }
    // Nothing is gone by that is not whole, and the county hears that this box has none.
    let keeper = bench.keeper();
    check(&keeper, 0, "");
    assert_eq!(keeper.held().rules, None);
}

#[test]
fn what_an_agent_of_before_stored_is_read() {
    let bench = Bench::new();
    fs::create_dir(bench.file("")).unwrap();
    let message = bench.county.says(&policy(7));
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let stored = [&len[..], &message, DEFAULT_RULES.as_bytes()].concat();
    fs::write(bench.file(CURRENT), stored).unwrap();
    let mut keeper = bench.keeper();
    check(&keeper, 7, "");
    keeper.take(&bench.county.says(&policy(8)));
    check(&bench.keeper(), 8, "");
}
