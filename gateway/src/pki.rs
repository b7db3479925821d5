//! The county's own certificate authority: a CA, and one certificate per box and service.
//!
//! # Invariants
//! - a key is never overwritten, and readable by its owner only
//! - a certificate's common name is its holder's name and MQTT client id

use anyhow::{Context as _, bail};
use model::{id::SiteId, time::WallTime};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
};
use uplink_proto::{certificate::valid_until, topics::COUNTY};

/// Boxes boot with wrong clocks: certificates are valid from this many days before they were made.
const BACKDATED_DAYS: i64 = 30;
/// A box gets a new certificate within this.
const LEAF_DAYS: i64 = 825;
/// The CA.
const CA_DAYS: i64 = 3650;
const BROKER: &str = "broker";
/// Of board and API.
const BOARD: &str = "board";
/// Holder of the key that signs what boxes go by.
const POLICY: &str = "policy";
/// Mode of the files of keys.
const KEY_MODE: u32 = 0o600;

/// The folder of keys and certificates.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    dir: PathBuf,
}

/// PEM files of one holder.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pki {
    pub(crate) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Files of the county's own service, as an MQTT client.
    pub(crate) fn county(&self) -> Identity {
        self.identity(COUNTY)
    }

    /// Files of the broker.
    pub(crate) fn broker(&self) -> Identity {
        self.identity(BROKER)
    }

    /// Files of board and API.
    pub(crate) fn board(&self) -> Identity {
        self.identity(BOARD)
    }

    /// Files of the key that signs what boxes go by.
    pub(crate) fn policy(&self) -> Identity {
        self.identity(POLICY)
    }

    /// Makes the key that signs what boxes go by, at a county that was set up before there was one.
    /// Boxes need nothing for it: they trust the CA.
    pub(crate) fn make_policy_key(&self) -> anyhow::Result<()> {
        if self.policy().key.exists() {
            return Ok(());
        }
        let (_, issuer) = self.issuer()?;
        let mut files = PemFiles::default();
        files.policy(&issuer)?;
        files.write(&self.dir)
    }

    /// Files the county needs to be found and believed by its boxes, and which are not there.
    pub(crate) fn missing(&self) -> Vec<PathBuf> {
        let all = [self.county(), self.broker(), self.board()];
        let all = all.into_iter().flat_map(|one| [one.ca, one.cert, one.key]);
        let missing: BTreeSet<PathBuf> = all.filter(|path| !path.exists()).collect();
        missing.into_iter().collect()
    }

    /// Until when the certificates of the county's own services and of its CA are valid that are in
    /// the files: the first of them that ends, as far as they can be read.
    pub(crate) fn certificates_until(&self) -> Option<WallTime> {
        let all = [self.county().ca, self.county().cert, self.broker().cert, self.board().cert];
        let read = |path: &PathBuf| valid_until(&CertificateDer::from_pem_file(path).ok()?);
        all.iter().filter_map(read).min()
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            ca: self.dir.join("ca.crt"),
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        }
    }

    /// Makes the CA and the certificates of the county's own services. Nothing is written before
    /// everything is made, and nothing is left when it cannot be written.
    pub(crate) fn init(&self, hosts: &[String]) -> anyhow::Result<()> {
        if self.dir.join("ca.key").exists() {
            bail!(
                "{} has a CA already; keep it, or move the folder aside first",
                self.dir.display()
            );
        }
        let key = KeyPair::generate().context("making the CA's key")?;
        let mut params = params("Clinic Edge County CA", Vec::new(), CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).context("signing the CA")?.pem();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::from_ca_cert_pem(&ca, key).context("reading the CA")?;
        let mut files = PemFiles::default();
        for (name, hosts, usage) in services(hosts) {
            files.leaf(&issuer, name, hosts, usage)?;
        }
        files.policy(&issuer)?;
        files.certificate("ca", ca);
        files.key("ca", key_pem);
        files.write(&self.dir)
    }

    /// Makes the certificates of the county's own services anew, for the keys that they have: a file
    /// is the old certificate or the new one, and belongs to its key at every moment.
    pub(crate) fn renew(&self, hosts: &[String]) -> anyhow::Result<()> {
        let (_, issuer) = self.issuer()?;
        let mut made = Vec::new();
        for (name, hosts, usage) in services(hosts) {
            let Identity { cert, key, .. } = self.identity(name);
            let pem = fs::read_to_string(&key)
                .with_context(|| format!("reading {}, which `pki init` made", key.display()))?;
            let key = KeyPair::from_pem(&pem).with_context(|| format!("the key of {name}"))?;
            made.push((cert, leaf(&issuer, name, hosts, usage, &key)?));
        }
        for (path, pem) in made {
            replace(&path, &pem).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// Issues the certificate of a box into `out`, with the CA beside it.
    pub(crate) fn issue(&self, site: &SiteId, out: &Path) -> anyhow::Result<()> {
        let (ca, issuer) = self.issuer()?;
        let mut files = PemFiles::default();
        files.leaf(&issuer, site.as_str(), &[], ExtendedKeyUsagePurpose::ClientAuth)?;
        files.certificate("ca", ca);
        files.write(out)
    }

    /// The CA's certificate, and the CA.
    fn issuer(&self) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
        let read = |file: &str| {
            let path = self.dir.join(file);
            fs::read_to_string(&path).with_context(|| {
                format!(
                    "reading {}; bring it back from where it is kept, or run `clinic-gateway pki \
                     init` where there is no CA yet",
                    path.display()
                )
            })
        };
        let (ca, key) = (read("ca.crt")?, read("ca.key")?);
        let key = KeyPair::from_pem(&key).context("reading the CA's key")?;
        let issuer = Issuer::from_ca_cert_pem(&ca, key).context("reading the CA")?;
        Ok((ca, issuer))
    }
}

/// Keys and certificates that are made and not yet written.
#[derive(Default)]
struct PemFiles {
    keys: Vec<(String, String)>,
    certificates: Vec<(String, String)>,
}

impl PemFiles {
    fn key(&mut self, name: &str, pem: String) {
        self.keys.push((format!("{name}.key"), pem));
    }

    fn certificate(&mut self, name: &str, pem: String) {
        self.certificates.push((format!("{name}.crt"), pem));
    }

    /// The key that signs what boxes go by. It is used by the county alone and certified for nothing
    /// else: it is good for as long as the CA.
    fn policy(&mut self, issuer: &Issuer<'_, KeyPair>) -> anyhow::Result<()> {
        let key = KeyPair::generate_for(&PKCS_ED25519).context("making a key")?;
        let mut params = params(POLICY, Vec::new(), CA_DAYS)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, issuer).context("signing a certificate")?;
        self.key(POLICY, key.serialize_pem());
        self.certificate(POLICY, certificate.pem());
        Ok(())
    }

    fn leaf(
        &mut self,
        issuer: &Issuer<'_, KeyPair>,
        name: &str,
        hosts: &[String],
        usage: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<()> {
        let key = KeyPair::generate().context("making a key")?;
        let certificate = leaf(issuer, name, hosts, usage, &key)?;
        self.key(name, key.serialize_pem());
        self.certificate(name, certificate);
        Ok(())
    }

    fn write(self, dir: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let mut made = Vec::new();
        let written = self.write_all(dir, &mut made);
        if written.is_err() {
            for key in made {
                // A key without its certificate is worth nothing, and stands in the way next time.
                drop(fs::remove_file(key));
            }
        }
        written
    }

    fn write_all(self, dir: &Path, made: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        for (file, pem) in self.keys {
            let path = dir.join(file);
            write_key(&path, &pem, made)?;
        }
        for (file, pem) in self.certificates {
            let path = dir.join(file);
            fs::write(&path, pem).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// The county's own services: name, hosts, and what its certificate is good for.
fn services(hosts: &[String]) -> [(&'static str, &[String], ExtendedKeyUsagePurpose); 3] {
    [
        (BROKER, hosts, ExtendedKeyUsagePurpose::ServerAuth),
        (BOARD, hosts, ExtendedKeyUsagePurpose::ServerAuth),
        (COUNTY, &[], ExtendedKeyUsagePurpose::ClientAuth),
    ]
}

/// A certificate that certifies nobody else, as PEM.
fn leaf(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    hosts: &[String],
    usage: ExtendedKeyUsagePurpose,
    key: &KeyPair,
) -> anyhow::Result<String> {
    let mut params = params(name, hosts.to_vec(), LEAF_DAYS)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, issuer).context("signing a certificate")?.pem())
}

/// Puts another text into the place of a file, for whoever reads that, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("crt.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    if let Ok(old) = fs::metadata(path) {
        fs::set_permissions(&new, old.permissions())?;
        chown(&new, Some(old.uid()), Some(old.gid()))?;
    }
    fs::rename(new, path)
}

fn params(name: &str, hosts: Vec<String>, days: i64) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts).context("names of a certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |days: i64| -> anyhow::Result<_> {
        let moment = crate::clock::now().unix_ms() / 1000 + days * 86_400;
        let date = jiff::Timestamp::from_second(moment)?.to_zoned(jiff::tz::TimeZone::UTC).date();
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(rcgen::date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = day(-BACKDATED_DAYS)?;
    params.not_after = day(days)?;
    Ok(params)
}

fn write_key(path: &Path, text: &str, made: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(KEY_MODE).open(path);
    let mut file = file.with_context(|| {
        format!(
            "making {}; a key is never overwritten, move the old one aside first",
            path.display()
        )
    })?;
    made.push(path.to_owned());
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData as _;
    use rustls::pki_types::UnixTime;
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};
    use webpki::{EndEntityCert, KeyUsage};

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn keys_are_readable_by_their_owner_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        let hosts = ["county.example".to_owned(), "::1".to_owned()];
        pki.init(&hosts).unwrap();
        let out = folder.path().join("heping");
        pki.issue(&SiteId::new("heping").unwrap(), &out).unwrap();
        for (dir, count) in [(&pki.dir, 5), (&out, 1)] {
            let keys: Vec<_> =
                files(dir).into_iter().filter(|name| name.ends_with(".key")).collect();
            assert_eq!(keys.len(), count, "{keys:?}");
            for key in keys {
                let mode = fs::metadata(dir.join(&key)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, KEY_MODE, "{key}");
            }
        }
        let before = fs::read(out.join("heping.key")).unwrap();
        assert!(pki.init(&hosts).is_err());
        assert!(pki.issue(&SiteId::new("heping").unwrap(), &out).is_err());
        assert_eq!(fs::read(out.join("heping.key")).unwrap(), before);
    }

    #[test]
    fn the_first_certificate_of_the_county_that_ends_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        assert_eq!(pki.certificates_until(), None);
        pki.init(&[]).unwrap();
        let days = |until: Option<WallTime>| {
            (until.unwrap().unix_ms() - crate::clock::now().unix_ms()) / 86_400_000
        };
        let all = days(pki.certificates_until());
        assert!((LEAF_DAYS - 1..=LEAF_DAYS).contains(&all), "{all}");
        let key = KeyPair::generate().unwrap();
        let soon = params("board", Vec::new(), 10).unwrap().self_signed(&key).unwrap();
        fs::write(pki.board().cert, soon.pem()).unwrap();
        let first = days(pki.certificates_until());
        assert!((9..=10).contains(&first), "{first}");
        // With its CA all of them end, and `renew` makes no other.
        let mut ca = params("ca", Vec::new(), 5).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        fs::write(pki.board().ca, ca.self_signed(&key).unwrap().pem()).unwrap();
        let first = days(pki.certificates_until());
        assert!((4..=5).contains(&first), "{first}");
    }

    #[test]
    fn the_countys_own_certificates_are_made_anew_for_their_hosts_and_keys() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        pki.init(&[]).unwrap();
        let key = KeyPair::generate().unwrap();
        let soon = params(BROKER, Vec::new(), 10).unwrap().self_signed(&key).unwrap();
        fs::write(pki.broker().cert, soon.pem()).unwrap();
        let before = files(&pki.dir);
        let kept = |name: &&String| name.ends_with(".key") || name.starts_with("ca");
        let read = |name: &String| fs::read(pki.dir.join(name)).unwrap();
        let keys: Vec<_> = before.iter().filter(kept).map(read).collect();

        pki.renew(&["county.example".to_owned()]).unwrap();
        let days = (pki.certificates_until().unwrap().unix_ms() - crate::clock::now().unix_ms())
            / 86_400_000;
        assert!((LEAF_DAYS - 1..=LEAF_DAYS).contains(&days), "{days}");
        assert_eq!(files(&pki.dir), before);
        assert_eq!(before.iter().filter(kept).map(read).collect::<Vec<_>>(), keys);

        let ca = CertificateDer::from_pem_file(pki.broker().ca).unwrap();
        let ca = webpki::anchor_from_trusted_cert(&ca).unwrap();
        let now = u64::try_from(crate::clock::now().unix_ms() / 1000).unwrap();
        for (one, usage, is_server) in [
            (pki.broker(), KeyUsage::server_auth(), true),
            (pki.board(), KeyUsage::server_auth(), true),
            (pki.county(), KeyUsage::client_auth(), false),
        ] {
            let certificate = CertificateDer::from_pem_file(&one.cert).unwrap();
            let leaf = EndEntityCert::try_from(&certificate).unwrap();
            leaf.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                std::slice::from_ref(&ca),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(now)),
                usage,
                None,
                None,
            )
            .unwrap();
            let host = rustls::pki_types::ServerName::try_from("county.example").unwrap();
            assert_eq!(leaf.verify_is_valid_for_subject_name(&host).is_ok(), is_server);
            let key = KeyPair::from_pem(&fs::read_to_string(&one.key).unwrap()).unwrap();
            let public = leaf.subject_public_key_info();
            assert_eq!(public.as_ref(), key.subject_public_key_info());
        }

        // Of a CA that is kept offline nothing is made, and nothing is lost.
        let certificate = fs::read(pki.broker().cert).unwrap();
        fs::remove_file(pki.dir.join("ca.key")).unwrap();
        assert!(pki.renew(&[]).is_err());
        assert_eq!(fs::read(pki.broker().cert).unwrap(), certificate);
    }

    #[test]
    fn an_init_that_failed_leaves_nothing_and_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        assert!(pki.init(&["县".to_owned()]).is_err());
        assert!(!pki.dir.exists());
        fs::create_dir(&pki.dir).unwrap();
        fs::write(pki.dir.join("board.key"), "somebody's").unwrap();
        assert!(pki.init(&[]).is_err());
        assert_eq!(files(&pki.dir), ["board.key"]);
        fs::remove_file(pki.dir.join("board.key")).unwrap();
        pki.init(&[]).unwrap();
    }

    #[test]
    fn a_county_of_before_gets_the_key_that_signs_for_boxes_once() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::at(&folder.path().join("pki"));
        pki.init(&[]).unwrap();
        let Identity { cert, key, .. } = pki.policy();
        fs::remove_file(&key).unwrap();
        fs::remove_file(&cert).unwrap();
        pki.make_policy_key().unwrap();
        let made = fs::read(&key).unwrap();
        pki.make_policy_key().unwrap();
        assert_eq!(fs::read(&key).unwrap(), made);
        // A CA that is kept offline makes none.
        fs::remove_file(&key).unwrap();
        fs::remove_file(pki.dir.join("ca.key")).unwrap();
        assert!(pki.make_policy_key().is_err());
    }
}
