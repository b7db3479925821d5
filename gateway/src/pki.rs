//! The county's own certificate authority: a CA, and one certificate per box and service.
//!
//! # Invariants
//! - a key is never overwritten, and readable by its owner only
//! - a certificate's common name is its holder's name and MQTT client id

use anyhow::{Context as _, bail};
use model::id::SiteId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use uplink_proto::topics::COUNTY;

/// Boxes boot with wrong clocks: certificates are valid from this many days before they were made.
const BACKDATED_DAYS: i64 = 30;
/// A box gets a new certificate within this.
const LEAF_DAYS: i64 = 825;
/// The CA.
const CA_DAYS: i64 = 3650;

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
        self.identity("broker")
    }

    /// Files of board and API.
    pub(crate) fn board(&self) -> Identity {
        self.identity("board")
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            ca: self.dir.join("ca.crt"),
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        }
    }

    /// Makes the CA and the certificates of the county's own services.
    pub(crate) fn init(&self, hosts: &[String]) -> anyhow::Result<()> {
        if self.dir.join("ca.key").exists() {
            bail!(
                "{} has a CA already; keep it, or move the folder aside first",
                self.dir.display()
            );
        }
        fs::create_dir_all(&self.dir).with_context(|| format!("making {}", self.dir.display()))?;
        let key = KeyPair::generate().context("making the CA's key")?;
        let mut params = params("Clinic Edge County CA", Vec::new(), CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).context("signing the CA")?;
        write_key(&self.dir.join("ca.key"), &key.serialize_pem())?;
        write(&self.dir.join("ca.crt"), &ca.pem())?;
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        self.leaf("broker", hosts, server.clone(), &self.dir)?;
        self.leaf("board", hosts, server, &self.dir)?;
        self.leaf(COUNTY, &[], ExtendedKeyUsagePurpose::ClientAuth, &self.dir)
    }

    /// Issues the certificate of a box into `out`, with the CA beside it.
    pub(crate) fn issue(&self, site: &SiteId, out: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
        self.leaf(site.as_str(), &[], ExtendedKeyUsagePurpose::ClientAuth, out)?;
        let ca = fs::read_to_string(self.dir.join("ca.crt")).context("reading the CA")?;
        write(&out.join("ca.crt"), &ca)
    }

    fn leaf(
        &self,
        name: &str,
        hosts: &[String],
        usage: ExtendedKeyUsagePurpose,
        out: &Path,
    ) -> anyhow::Result<()> {
        let read = |file: &str| {
            let path = self.dir.join(file);
            fs::read_to_string(&path).with_context(|| {
                format!("reading {}; run `clinic-gateway pki init` first", path.display())
            })
        };
        let ca_key = KeyPair::from_pem(&read("ca.key")?).context("reading the CA's key")?;
        let issuer =
            Issuer::from_ca_cert_pem(&read("ca.crt")?, ca_key).context("reading the CA")?;
        let key = KeyPair::generate().context("making a key")?;
        let mut params = params(name, hosts.to_vec(), LEAF_DAYS)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer).context("signing a certificate")?;
        write_key(&out.join(format!("{name}.key")), &key.serialize_pem())?;
        write(&out.join(format!("{name}.crt")), &certificate.pem())
    }
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

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn write_key(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| {
        format!(
            "making {}; a key is never overwritten, move the old one aside first",
            path.display()
        )
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
