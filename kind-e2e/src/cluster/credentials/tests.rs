use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_key_is_a_key_whatever_the_random_octets() -> Result<()> {
    for octets in [[0; 32], [0xff; 32], [0x5a; 32]] {
        let key = signing_key(octets);
        let lines: Vec<_> = key.lines().collect();
        let [begin, body, end] = lines[..] else { anyhow::bail!("{key}") };
        assert_eq!(
            (begin, end),
            ("-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----")
        );
        let der = BASE64_STANDARD.decode(body)?;
        // The outer sequence has the length of what follows.
        assert_eq!(usize::from(der[1]), der.len() - 2);
        let number = &der[7..39];
        assert!(number[0] < 0xff && number.iter().any(|octet| *octet != 0), "{number:?}");
    }
    Ok(())
}

#[test]
fn secrets_are_of_their_owner_and_of_one_cluster() -> Result<()> {
    let (one, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let places =
        |directory: &tempfile::TempDir| Places::new(directory.path(), Ipv4Addr::new(10, 77, 0, 1));
    let (one, other) = (places(&one), places(&other));
    let (here, there) = (Credentials::create(&one)?, Credentials::create(&other)?);
    assert_ne!(here.admin, there.admin);
    assert_ne!(here.admin, here.controllers);
    assert_ne!(std::fs::read(one.account_key())?, std::fs::read(other.account_key())?);
    for file in [one.account_key(), one.tokens(), here.admin_kubeconfig(&one)?] {
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    Ok(())
}
