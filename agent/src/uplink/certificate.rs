//! Until when the certificate of this box is valid.

use model::time::WallTime;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::path::Path;
use uplink_proto::certificate::valid_until;

/// Until when the certificate of that file is valid, as far as it can be read. It is read each time:
/// somebody may have copied the next one there.
pub(super) fn until(path: &Path) -> Option<WallTime> {
    valid_until(&CertificateDer::from_pem_file(path).ok()?)
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
