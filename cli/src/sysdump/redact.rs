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

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// What stands in the place of a secret: neither its size nor a hash of it.
pub(super) const MARK: &str = "<removed>";
/// Values that are shorter are words that stand elsewhere by chance.
const SHORTEST: usize = 8;
/// Values that are remembered.
const MANY: usize = 20_000;

/// Parts of the names of secrets; names are compared in lower case, without `-`, `_` and `.`.
const WORDS: [&str; 14] = [
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
];
/// How names end that say where a secret is, or what it is like, and not what it says.
const REFERENCES: [&str; 12] = [
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
];

/// Whether what a name stands for is a secret.
fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    WORDS.iter().any(|word| plain.contains(word))
        && !REFERENCES.iter().any(|ending| plain.ends_with(ending))
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
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|one| self.json(one)),
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
                        self.remove(value);
                    }
                    self.json(value);
                }
            }
            _ => {}
        }
    }

    /// A text in the place of a secret, or several. What is no text (whether a token is mounted, which Secret is
    /// meant) stays.
    fn remove(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                *text = MARK.to_owned();
            }
            Value::Array(list) => {
                for one in list.iter_mut().filter(|one| one.is_string()) {
                    *one = MARK.into();
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

/// Without the values of `name=value`, `name: value`, `"name":"value"` and `--name value` whose name is that of a
/// secret, and without JSON web tokens.
fn without_values(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    while let Some(begin) = rest.find(is_name) {
        clean += &rest[..begin];
        rest = &rest[begin..];
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        rest = &rest[name.len()..];
        if name.starts_with("eyJ") && name.len() > 40 && name.matches('.').count() >= 2 {
            clean += MARK;
            continue;
        }
        clean += name;
        if !is_secret(name) {
            continue;
        }
        let gap = gap(rest, name.starts_with("--"));
        let Some(gap) = gap else { continue };
        clean += &rest[..gap];
        rest = &rest[gap..];
        let mut value = value(rest, clean.chars().next_back());
        // `Authorization: Bearer TOKEN`: the first word is the scheme.
        if ["Bearer", "Basic", "bearer", "basic"].contains(&&rest[..value]) {
            let blank = rest[value..].len() - rest[value..].trim_start_matches(' ').len();
            value += blank;
            value += self::value(&rest[value..], None);
        }
        if value > 0 {
            clean += MARK;
        }
        rest = &rest[value..];
    }
    clean + rest
}

/// How long what stands between a name and its value is; `None` where no value follows.
fn gap(text: &str, is_option: bool) -> Option<usize> {
    let quotes = |c: char| "\"'\\".contains(c);
    let blank = |c: char| c == ' ' || c == '\t';
    let after_name = text.trim_start_matches(quotes).trim_start_matches(blank);
    let value = match after_name.strip_prefix([':', '=']) {
        Some(value) => value.trim_start_matches(blank),
        None if is_option && after_name.len() < text.len() => after_name,
        None => return None,
    };
    let value = value.trim_start_matches(quotes);
    Some(text.len() - value.len())
}

/// How long a value is that is quoted by `before`, or ends where a word ends.
fn value(text: &str, before: Option<char>) -> usize {
    let end = match before {
        Some(quote @ ('"' | '\'')) => text.find([quote, '\\', '\n']),
        _ => text.find(|c: char| c.is_whitespace() || ",;&\"'\\)}]".contains(c)),
    };
    // What begins a structure is walked through by itself.
    if text.starts_with(['{', '[']) { 0 } else { end.unwrap_or(text.len()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(input: &str) -> String {
        Redactor::default().text(input)
    }

    #[test]
    fn values_of_names_like_those_of_secrets_go_and_references_stay() {
        for (input, output) in [
            ("password=hunter22 user=x", "password=<removed> user=x"),
            ("{\"bgp_password\":\"hunter22\",\"a\":1}", "{\"bgp_password\":\"<removed>\",\"a\":1}"),
            (r#"say \"token\": \"abc def\" now"#, r#"say \"token\": \"<removed>\" now"#),
            ("Authorization: Bearer abc.def", "Authorization: <removed>"),
            ("--api-token abc --port 7", "--api-token <removed> --port 7"),
            ("--api-token=abc,x", "--api-token=<removed>,x"),
            ("passwordSecret: {name: bgp}", "passwordSecret: {name: bgp}"),
            ("secretName: web-tls", "secretName: web-tls"),
            ("no such Secret default/web-tls", "no such Secret default/web-tls"),
            ("http://me:hunter22@example.com/a and b@c", "http://<removed>@example.com/a and b@c"),
            ("at 10:00 port: 80", "at 10:00 port: 80"),
            ("password:", "password:"),
        ] {
            assert_eq!(text(input), output);
            assert_eq!(text(output), output, "once more changes nothing");
        }
        let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(20), "b".repeat(20), "c".repeat(20));
        assert_eq!(text(&format!("got {jwt}!")), "got <removed>!");
    }

    #[test]
    fn private_keys_go_and_certificates_stay() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        assert_eq!(
            text(&format!("a {key} b {certificate}")),
            format!("a <removed> b {certificate}")
        );
        assert_eq!(text(&key.replace('\n', "\\n")), MARK);
        assert_eq!(text(&key[..40]), MARK, "without an end");
    }

    #[test]
    fn objects_lose_what_is_secret_and_what_is_noise() {
        let mut redactor = Redactor::default();
        let mut secret = json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":\"hunter22\"}",
                    "example.com/api-token": "abcdef", "example.com/note": "fine"}},
            "data": {"keys": BASE64_STANDARD.encode("hunter22"), "tls.crt": BASE64_STANDARD.encode("certificate")}});
        redactor.json(&mut secret);
        assert_eq!(
            secret,
            json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "s",
                "annotations": {"example.com/api-token": MARK, "example.com/note": "fine"}},
                "data": {"keys": MARK, "tls.crt": MARK}})
        );
        // What it was is known from now on, wherever it stands.
        assert_eq!(redactor.text("the log says hunter22"), "the log says <removed>");
        assert_eq!(redactor.text(&BASE64_STANDARD.encode("hunter22")), MARK);
        assert_eq!(redactor.text("certificate"), "certificate");

        let mut pod = json!({"spec": {"automountServiceAccountToken": true, "containers": [{
            "env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "MODE", "value": "y"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "t"}}}],
            "args": ["--token=abc", "--listen=:80"]}],
            "volumes": [{"secret": {"secretName": "s"}}], "tokens": ["a", "b"]}});
        redactor.json(&mut pod);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], MARK);
        assert_eq!(container["env"][1]["value"], "y");
        assert_eq!(container["env"][2]["valueFrom"]["secretKeyRef"]["name"], "s");
        assert_eq!(container["args"], json!(["--token=<removed>", "--listen=:80"]));
        assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "s");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], true);
        assert_eq!(pod["spec"]["tokens"], json!([MARK, MARK]));
    }

    #[test]
    fn a_password_of_a_bgp_peer_goes_and_where_it_is_kept_stays() {
        let mut peer = json!({"kind": "BGPPeer", "spec": {"peerAddress": "192.0.2.1", "password": "x",
            "passwordSecret": {"name": "bgp", "namespace": "vipgate-system"}}});
        Redactor::default().json(&mut peer);
        assert_eq!(peer["spec"]["password"], MARK);
        assert_eq!(peer["spec"]["passwordSecret"]["name"], "bgp");
    }

    #[test]
    fn a_text_without_secrets_is_as_it_was() {
        let log = "2026-01-01T00:00:00Z INFO vipgate: VIP 192.0.2.240 announced on eth0; päng \
         ✓\n\"a\": {\"b\": [1]}";
        assert_eq!(text(log), log);
        assert_eq!(text(""), "");
    }
}
