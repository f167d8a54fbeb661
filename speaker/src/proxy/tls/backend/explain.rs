//! Why there is no TLS with a backend, in words that say what to check.

use rustls::{AlertDescription, CertificateError, Error, ExtendedKeyPurpose, OtherError};

use super::verifier::WrongName;

/// What went wrong, said of the endpoint.
pub(in crate::proxy) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => refused(*alert),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            "what it answers is no TLS: check that this port speaks TLS".to_owned()
        }
        Error::PeerIncompatible(what) => {
            format!("it has no version or cipher of TLS in common with us: {what:?}")
        }
        other => format!("TLS with it failed: {other}"),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(OtherError(other)) if other.is::<WrongName>() => {
            format!("{other}: check hostname and subjectAltNames of the BackendTLSPolicy")
        }
        CertificateError::UnknownIssuer => "its certificate goes back to no CA that is trusted \
            for it: check the CA certificates of the BackendTLSPolicy, and whether the backend shows \
            the intermediate ones"
            .to_owned(),
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("its certificate has expired, {ago} seconds ago")
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            format!("its certificate is not valid yet, for {until} seconds: check the clocks")
        }
        CertificateError::InvalidPurposeContext { required, .. }
            if *required == ExtendedKeyPurpose::ServerAuth =>
        {
            "its certificate is for something else than servers (extendedKeyUsage)".to_owned()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}

fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it asks for a client certificate: name one in \
            spec.tls.backend.clientCertificateRef of the Gateway"
            .to_owned(),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => {
            format!("it refuses the client certificate of the Gateway, or wants one ({alert:?})")
        }
        AlertDescription::UnrecognisedName => {
            "it does not know the server name: check hostname of the BackendTLSPolicy".to_owned()
        }
        other => format!("it refuses the TLS handshake ({other:?})"),
    }
}
