//! Which settings share what a handshake needs. What it does is shown over real sockets in
//! `tests/proxy_suite`.

use super::*;

fn tls(name: &str, root: &str) -> Arc<BackendTls> {
    let made = rcgen::generate_simple_self_signed([root.to_owned()]).unwrap();
    Arc::new(BackendTls {
        server_name: name.to_owned(),
        subject_names: Vec::new(),
        roots: Some(vec![made.cert.der().to_vec()]),
        certificate: None,
    })
}

#[test]
fn equal_settings_share_a_configuration_while_somebody_wants_it() {
    let mut backends = Backends::default();
    let one = tls("a.example.com", "ca");
    let first = backends.secure(&one);
    assert!(first.begin().is_ok());
    assert!(Arc::ptr_eq(&first, &backends.secure(&Arc::new((*one).clone()))));
    // Another root, another configuration, and with it other sessions.
    let other = backends.secure(&tls("a.example.com", "ca"));
    assert!(!Arc::ptr_eq(&first, &other));
    drop(first);
    backends.forget_unused();
    assert_eq!(backends.known.len(), 1);
    drop(other);
    backends.forget_unused();
    assert_eq!(backends.known.len(), 0);
}

#[test]
fn what_cannot_be_used_is_never_plain() {
    let mut backends = Backends::default();
    let mut none = (*tls("a.example.com", "ca")).clone();
    none.roots = Some(Vec::new());
    assert!(backends.secure(&Arc::new(none)).begin().unwrap_err().contains("CAs"));
    let mut broken = (*tls("a.example.com", "ca")).clone();
    broken.roots = Some(vec![b"no certificate".to_vec()]);
    assert!(backends.secure(&Arc::new(broken)).begin().is_err());
    let nameless = backends.secure(&tls("not a name", "ca"));
    assert!(nameless.begin().unwrap_err().starts_with("not a name"));
}
