//! Until when a certificate is valid.

use model::time::WallTime;
use pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage};

/// The last second of the year 9999, which certificates give that never end (RFC 5280, 4.1.2.5).
const NEVER: Duration = Duration::from_secs(253_402_300_799);

/// Until when a certificate of X.509 is valid, whoever signed it and for whatever it is good; `None`
/// where it cannot be read, or never ends.
#[must_use]
pub fn valid_until(certificate: &CertificateDer<'_>) -> Option<WallTime> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
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
