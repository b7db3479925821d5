//! Until when the certificate of this box is valid.

use model::time::WallTime;
use rustls::pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use std::{path::Path, time::Duration};
use webpki::{EndEntityCert, KeyUsage};

/// The last second of the year 9999, which certificates give that never end (RFC 5280, 4.1.2.5).
const NEVER: Duration = Duration::from_secs(253_402_300_799);

/// Until when the certificate of that file is valid, as far as it can be read. It is read each time:
/// somebody may have copied the next one there.
pub(super) fn until(path: &Path) -> Option<WallTime> {
    let certificate = CertificateDer::from_pem_file(path).ok()?;
    let certificate = EndEntityCert::try_from(&certificate).ok()?;
    // The library tells that moment to whom it refuses, and asks for it before it asks who signed.
    let refused = certificate.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[],
        &[],
        UnixTime::since_unix_epoch(NEVER),
        KeyUsage::client_auth(),
        None,
        None,
    );
    let Err(webpki::Error::CertExpired { not_after, .. }) = refused else { return None };
    let ms = i64::try_from(not_after.as_secs()).ok()?.checked_mul(1000)?;
    Some(WallTime::from_unix_ms(ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn the_last_day_of_a_certificate_is_told_whatever_the_clock_says_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heping-01.crt");
        assert_eq!(until(&path), None);
        for (year, ms) in [(2030, Some(1_893_456_000_000)), (1999, Some(915_148_800_000))] {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.not_before = date_time_ymd(1990, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
            assert_eq!(until(&path).map(WallTime::unix_ms), ms, "{year}");
        }
        std::fs::write(&path, "no certificate").unwrap();
        assert_eq!(until(&path), None);
    }
}
