//! What is a secret does not get into the archive.
//!
//! By three signs, each of which is enough:
//!
//! * where it stands: `data` of a Secret; a field, environment variable, annotation, header or option whose name
//!   is that of a secret ([`is_secret`]), unless the name is that of a reference to one;
//! * how it looks: a private key in PEM, `user:password@` in a URL, a JSON web token;
//! * what it is: a value that was read from a Secret ([`Redactor::learn`]) goes wherever it stands.
//!
//! What `kubectl apply` copies into an annotation, and `managedFields`, goes as a whole.

mod text;

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use text::without_values;

/// What stands in the place of a secret: neither its size nor a hash of it.
pub(super) const MARK: &str = "<removed>";
/// Values that are shorter are words that stand elsewhere by chance.
const SHORTEST: usize = 8;
/// Values that are remembered.
const MANY: usize = 20_000;

/// Parts of the names of secrets; names are compared in lower case, without `-`, `_` and `.`.
const WORDS: [&str; 20] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "credential",
    "authorization",
    "apikey",
    "privatekey",
    "accesskey",
    "sharedkey",
    "groupkey",
    "authkey",
    "cookie",
    "clientkey",
    "keydata",
    "signingkey",
    "encryptionkey",
    "passcode",
    "pwd",
];
/// How names end that say where a secret is, or what it is like, and not what it says.
const REFERENCES: [&str; 13] = [
    "name",
    "namespace",
    "ref",
    "refs",
    "kind",
    "type",
    "file",
    "path",
    "seconds",
    "reason",
    "message",
    "version",
    // A sysctl.
    "syncookies",
];

/// A name as names are compared.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether what a name stands for is a secret.
fn is_secret(name: &str) -> bool {
    let plain = plain(name);
    let is_pass = plain.ends_with("pass") && !plain.ends_with("bypass");
    (is_pass || WORDS.iter().any(|word| plain.contains(word))) && !is_reference(name)
}

/// Whether a name is that of where something is, or what it is like.
fn is_reference(name: &str) -> bool {
    let plain = plain(name);
    REFERENCES.iter().any(|ending| plain.ends_with(ending))
}

/// Takes secrets out, and remembers those that it was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    /// The longest first: one may be part of another.
    known: BTreeSet<(std::cmp::Reverse<usize>, String)>,
}

impl Redactor {
    /// Remembers a secret. Of one with several lines each goes by itself as well: it may stand in another form
    /// elsewhere, with other ends of lines.
    pub(super) fn learn(&mut self, secret: &str) {
        let lines = secret.lines().filter(|line| line.len() > 20 && !line.starts_with("-----"));
        for part in std::iter::once(secret.trim()).chain(lines.map(str::trim)) {
            if part.len() >= SHORTEST && self.known.len() < MANY {
                self.known.insert((std::cmp::Reverse(part.len()), part.to_owned()));
            }
        }
    }

    /// Remembers what a Secret has, as it stands there and as it means.
    fn learn_from(&mut self, key: &str, value: &str, is_base64: bool) {
        // Certificates are for everybody, and help where they are expired.
        if key == "tls.crt" || key == "ca.crt" {
            return;
        }
        self.learn(value);
        let plain = is_base64.then(|| BASE64_STANDARD.decode(value.trim()).ok()).flatten();
        if let Some(text) = plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
            self.learn(&text);
        }
    }

    /// Takes what is secret out of a value.
    pub(super) fn json(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                // JSON in a text, as annotations have it, is read as what it is.
                let inner =
                    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text));
                let Some(Ok(before)) = inner else {
                    *text = self.text(text);
                    return;
                };
                let before: Value = before;
                let mut after = before.clone();
                self.json(&mut after);
                // Of a key that is there twice only one was seen.
                *text = if after == before { self.text(text) } else { after.to_string() };
            }
            Value::Array(list) => self.list(list),
            Value::Object(map) => {
                if map.get("kind").is_some_and(|kind| kind == "Secret") {
                    for (field, is_base64) in [("data", true), ("stringData", false)] {
                        let Some(Value::Object(data)) = map.get_mut(field) else { continue };
                        for (key, value) in data.iter_mut() {
                            if let Some(text) = value.as_str() {
                                self.learn_from(key, text, is_base64);
                            }
                            *value = MARK.into();
                        }
                    }
                }
                map.remove("managedFields");
                map.retain(|key, _| !key.contains("last-applied"));
                // An environment variable, or a header: what it is called stands beside it.
                let named = map.get("name").and_then(Value::as_str).is_some_and(is_secret);
                for (key, value) in map.iter_mut() {
                    if is_secret(key) || (named && key == "value") {
                        Self::remove(value);
                    }
                    self.json(value);
                }
            }
            _ => {}
        }
    }

    /// Takes what is secret out of a list; `["--token", "abc"]` and `["TOKEN=a b"]` are arguments and environments.
    fn list(&mut self, list: &mut [Value]) {
        let mut is_value = false;
        for one in list {
            let text = one.as_str().unwrap_or_default();
            if is_value && !text.starts_with("--") {
                Self::remove(one);
            }
            let text = one.as_str().unwrap_or_default();
            let name = text.split_once('=').map(|(name, _)| name);
            is_value = text.starts_with('-') && !text.contains(['=', ':', ' ']) && is_secret(text);
            match name {
                Some(name) if !name.contains([' ', ':', '{', '"']) && is_secret(name) => {
                    *one = format!("{name}={MARK}").into();
                }
                _ => self.json(one),
            }
        }
    }

    /// A text in the place of a secret, or several. What is no text (whether a token is mounted, which Secret is
    /// meant) stays.
    fn remove(value: &mut Value) {
        match value {
            Value::String(_) | Value::Number(_) => *value = MARK.into(),
            Value::Array(list) => {
                for one in list.iter_mut().filter(|one| one.is_string()) {
                    *one = MARK.into();
                }
            }
            Value::Object(map) => {
                // `passwords: {admin: abc}`; what `secret: {secretName: web}` means is where it is.
                for (key, one) in map.iter_mut().filter(|(_, one)| one.is_string()) {
                    if !is_reference(key) {
                        *one = MARK.into();
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes what is secret out of a text.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = without_keys(text);
        for (_, secret) in &self.known {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MARK);
            }
        }
        let text = without_logins(&text);
        without_values(&text)
    }
}

/// Without private keys in PEM, whatever the ends of their lines are.
fn without_keys(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(begin) = rest.find("-----BEGIN ") {
        let label = &rest[begin + "-----BEGIN ".len()..];
        let is_key = label.find("-----").is_some_and(|end| label[..end].ends_with("PRIVATE KEY"));
        if !is_key {
            let past = begin + "-----BEGIN ".len();
            clean += &rest[..past];
            rest = &rest[past..];
            continue;
        }
        clean += &rest[..begin];
        clean += MARK;
        // One without an end goes on to the end of all.
        rest = rest[begin..].find("-----END ").map_or("", |end| {
            let after = &rest[begin + end + "-----END ".len()..];
            after.find("-----").map_or("", |close| &after[close + "-----".len()..])
        });
    }
    clean + rest
}

/// Without `user:password@` in URLs.
fn without_logins(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let past = at + "://".len();
        clean += &rest[..past];
        rest = &rest[past..];
        let end = rest.find(|c: char| c.is_whitespace() || "/\"'<>\\".contains(c));
        let authority = &rest[..end.unwrap_or(rest.len())];
        if let Some(login) = authority.rfind('@') {
            clean += MARK;
            rest = &rest[login..];
        }
    }
    clean + rest
}

#[cfg(test)]
mod tests;
