//! Why a broker does not talk to this box, or no longer: in words that say what to do next.
//!
//! Not here: what is done about it ([`super::Outage`]).

use rumqttc::{
    TlsError,
    v5::{
        ConnectionError as ClientError, StateError,
        mqttbytes::{
            Error as CodecError,
            v5::{ConnectReturnCode, DisconnectReasonCode, PubAckReason},
        },
    },
};
use rustls::{AlertDescription, CertificateError, Error as RustlsError};

/// rmqtt's own word for a session that was taken over; it calls that "not authorized".
const RMQTT_TAKEN_OVER: &str = "Kicked";

/// Why the client ended.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The broker does not want this box, or this box does not trust the broker.
    Rejected(String),
    /// Another program has connected under the name of this site.
    TakenOver,
    Failed(String),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        if let Some(why) = tls_of(&error).and_then(certificates) {
            return Self::Rejected(why.to_owned());
        }
        match error {
            ClientError::ConnectionRefused(code) => Self::Rejected(connect(code)),
            ClientError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
                disconnect(reason_code, reason_string.as_deref())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What the broker answers to CONNECT.
fn connect(code: ConnectReturnCode) -> String {
    use ConnectReturnCode as Code;
    let next = match code {
        Code::NotAuthorized | Code::BadUserNamePassword | Code::Banned => {
            "the site in agent.toml and the name in its certificate must be the same, and the \
             county must allow it"
        }
        Code::ClientIdentifierNotValid | Code::BadClientId => "the broker does not take that site",
        Code::QuotaExceeded | Code::ConnectionRateExceeded => {
            "the broker has reached a limit; the county has to raise it"
        }
        Code::ServerUnavailable | Code::ServerBusy | Code::ServiceUnavailable => {
            "the broker is busy or starting; the county has to look if this goes on"
        }
        _ => "tell the county, its broker is set up otherwise than this box expects",
    };
    format!("{code:?}; {next}")
}

/// Why the broker ends a connection that was up.
fn disconnect(code: DisconnectReasonCode, text: Option<&str>) -> Refusal {
    use DisconnectReasonCode as Code;
    let next = match code {
        Code::SessionTakenOver => return Refusal::TakenOver,
        Code::NotAuthorized if text == Some(RMQTT_TAKEN_OVER) => return Refusal::TakenOver,
        Code::ServerShuttingDown => "the broker stops or starts again",
        Code::NotAuthorized | Code::AdministrativeAction => {
            "the county has ended it; ask there whether the certificate of this box is still good"
        }
        Code::QuotaExceeded | Code::MessageRateTooHigh | Code::ReceiveMaximumExceeded => {
            "the broker has reached a limit for this box; the county has to raise it"
        }
        Code::PacketTooLarge => "the county has to raise max_packet_size at its broker",
        _ => "it is tried again; tell the county if this repeats",
    };
    Refusal::Failed(format!("the broker ended it, {code:?}; {next}"))
}

/// What the broker answers to an envelope it does not take.
pub(super) fn publish(code: PubAckReason) -> String {
    let next = match code {
        PubAckReason::NotAuthorized => {
            "its ACL does not let this box publish; the county has to compare it with \
             configs/broker/acl"
        }
        PubAckReason::QuotaExceeded => {
            "it has reached a limit for this box; the county has to raise it"
        }
        _ => "tell the county, its broker is set up otherwise than this box expects",
    };
    format!("{code:?}; {next}")
}

/// What went wrong in TLS, wherever the client has put it: with TLS 1.3 a broker that refuses a
/// certificate says so only after the handshake.
fn tls_of(error: &ClientError) -> Option<&RustlsError> {
    match error {
        ClientError::Tls(TlsError::TLS(error)) => Some(error),
        ClientError::Tls(TlsError::Io(error))
        | ClientError::Io(error)
        | ClientError::MqttState(
            StateError::Io(error) | StateError::Deserialization(CodecError::Io(error)),
        ) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// What is wrong with a certificate, the broker's or this box's.
fn certificates(error: &RustlsError) -> Option<&'static str> {
    use CertificateError as Its;
    Some(match error {
        RustlsError::InvalidCertificate(its) => match its {
            Its::Expired | Its::ExpiredContext { .. } => {
                "the broker's certificate has expired, by the clock of this box; look at that \
                 clock, and tell the county to renew the certificate"
            }
            Its::NotValidYet | Its::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet, by the clock of this box; set that clock"
            }
            Its::NotValidForName | Its::NotValidForNameContext { .. } => {
                "the broker's certificate has another name than `broker` in agent.toml; write the \
                 name that the county says"
            }
            Its::UnknownIssuer | Its::BadSignature => {
                "the broker's certificate is not of the county's CA; copy ca.crt from the county \
                 again, and look whether `broker` in agent.toml is the county's"
            }
            _ => "the broker's certificate cannot be used; tell the county",
        },
        RustlsError::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "the certificate of this box has expired; issue it again at the county \
                 (`clinic-gateway pki issue`) and copy it here"
            }
            AlertDescription::CertificateRevoked => {
                "the certificate of this box was revoked; issue it again at the county \
                 (`clinic-gateway pki issue`) and copy it here"
            }
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => {
                "the broker does not take the certificate of this box; issue it again at that \
                 county (`clinic-gateway pki issue`) and copy it here"
            }
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn told(error: ClientError) -> String {
        match Refusal::from(error) {
            Refusal::Rejected(text) => format!("rejected: {text}"),
            Refusal::Failed(text) => format!("failed: {text}"),
            Refusal::TakenOver => "taken over".to_owned(),
        }
    }

    #[track_caller]
    fn check(error: ClientError, begins: &str, next: &str) {
        let told = told(error);
        assert!(told.starts_with(begins) && told.contains(next), "{told}");
    }

    fn goodbye(reason_code: DisconnectReasonCode, text: Option<&str>) -> ClientError {
        let reason_string = text.map(str::to_owned);
        ClientError::MqttState(StateError::ServerDisconnect { reason_code, reason_string })
    }

    /// As it comes out of a stream after the handshake.
    fn late(error: RustlsError) -> ClientError {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        ClientError::MqttState(StateError::Deserialization(CodecError::Io(error)))
    }

    #[test]
    fn a_session_that_was_taken_over_is_told_by_both_brokers_in_their_own_way() {
        use DisconnectReasonCode as Code;
        check(goodbye(Code::SessionTakenOver, None), "taken over", "");
        check(goodbye(Code::NotAuthorized, Some("Kicked")), "taken over", "");
        check(goodbye(Code::NotAuthorized, Some("ByAdminKick")), "failed", "still good");
        check(goodbye(Code::QuotaExceeded, None), "failed: the broker ended it, Quota", "limit");
    }

    #[test]
    fn every_refusal_says_what_to_do_next() {
        use ConnectReturnCode as Code;
        let refused = ClientError::ConnectionRefused;
        check(refused(Code::NotAuthorized), "rejected: NotAuthorized", "site in agent.toml");
        check(refused(Code::QuotaExceeded), "rejected: QuotaExceeded", "raise");
        check(refused(Code::ServerBusy), "rejected: ServerBusy", "busy");
        check(refused(Code::RetainNotSupported), "rejected: RetainNotSupported", "tell the county");
        assert!(publish(PubAckReason::NotAuthorized).contains("ACL"));
        assert!(publish(PubAckReason::QuotaExceeded).contains("limit"));
    }

    #[test]
    fn whose_certificate_is_wrong_and_how_is_told_however_late_it_comes() {
        let of_broker = |error| {
            let error = RustlsError::InvalidCertificate(error);
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            ClientError::Tls(TlsError::Io(error))
        };
        check(of_broker(CertificateError::Expired), "rejected: the broker's", "renew");
        check(of_broker(CertificateError::NotValidYet), "rejected: the broker's", "set that clock");
        check(of_broker(CertificateError::NotValidForName), "rejected: the broker's", "agent.toml");
        check(of_broker(CertificateError::UnknownIssuer), "rejected: the broker's", "ca.crt");
        let of_box = |alert| late(RustlsError::AlertReceived(alert));
        check(of_box(AlertDescription::CertificateExpired), "rejected: the certificate", "expired");
        check(of_box(AlertDescription::UnknownCA), "rejected: the broker does not take", "issue");
        check(of_box(AlertDescription::InternalError), "failed", "");
    }
}
