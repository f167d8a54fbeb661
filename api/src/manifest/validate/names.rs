//! Names as RFC 1123, RFC 1035 and Kubernetes define them. Each check gives the refusal to show.

use crate::manifest::de::shorten;
use crate::manifest::nearest::nearest;

type Check = Result<(), String>;

/// RFC 1123 label: namespaces, names of ports and route rules.
pub(super) fn label(name: &str) -> Check {
    shape(name, is_label(name), "lower-case letters, digits and `-`, at most 63")
}

/// RFC 1035 label: as RFC 1123, and begins with a letter.
pub(super) fn service(name: &str) -> Check {
    let good = is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    shape(name, good, "lower-case letters, digits and `-`, a letter first, at most 63")
}

/// RFC 1123 subdomain: labels joined by dots.
pub(super) fn subdomain(name: &str) -> Check {
    let good = name.len() <= 253 && name.split('.').all(is_label_of_any_length);
    shape_with(name, good, "lower-case letters, digits, `-` and `.`, at most 253", '.')
}

/// Name of an object of any kind that has no rule here (a reference to it): a path segment.
pub(super) fn reference(name: &str) -> Check {
    if name.is_empty() {
        return Err("is empty: write a name".to_owned());
    }
    if name.len() > 253 {
        return Err(format!("has {} characters: the most is 253", name.len()));
    }
    Ok(())
}

/// API group: empty (core) or a subdomain.
pub(super) fn group(name: &str) -> Check {
    if name.is_empty() {
        return Ok(());
    }
    if let Some((group, _)) = name.split_once('/') {
        // People call it core; it is written as nothing.
        let group = if group == "core" { "\"\"".to_owned() } else { shorten(group, false) };
        return Err(format!("is a group without version: write `group: {group}`"));
    }
    subdomain(name)
}

/// Kind: `TCPRoute`.
pub(super) fn kind(name: &str) -> Check {
    let good = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    shape(name, good, "letters, digits and `-`, a letter first, at most 63")
}

/// Hostname of a listener: a subdomain, perhaps after `*.`; no address.
pub(super) fn hostname(name: &str) -> Check {
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("must be a DNS name, not the address {name}"));
    }
    subdomain(name.strip_prefix("*.").unwrap_or(name))
}

/// A name that DNS is asked for: labels of at most 63, the last of them no number, or it would be taken
/// for an address.
pub(super) fn dns(name: &str) -> Check {
    if let Some(name) = name.strip_suffix('.')
        && dns(name).is_ok()
    {
        return Err(format!("is always a name in full: leave the dot out, `{name}`"));
    }
    subdomain(name)?;
    if name.split('.').any(|label| label.len() > 63) {
        return Err(format!("{} has more than 63 characters between dots", shorten(name, true)));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "{name} ends in a number, as no DNS name does: write an address into `address`"
        ));
    }
    Ok(())
}

/// Key of a label or annotation: `name` or `prefix/name`.
pub(super) fn qualified(key: &str) -> Check {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(p, name)| (Some(p), name));
    if let Some(prefix) = prefix {
        subdomain(prefix).map_err(|why| format!("key {}: prefix {why}", shorten(key, true)))?;
    }
    let good = !name.is_empty() && label_value(name).is_ok();
    if good {
        return Ok(());
    }
    Err(format!(
        "the key {} is not valid: use letters, digits, `-`, `_` and `.`, at most 63, perhaps after \
         a `prefix/`",
        shorten(key, true)
    ))
}

/// Value of a label.
pub(super) fn label_value(value: &str) -> Check {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    let good = value.len() <= 63
        && value.bytes().all(inner)
        && (value.is_empty() || value.starts_with(outer) && value.ends_with(outer));
    if good {
        return Ok(());
    }
    Err(format!(
        "the value {} is not valid: use letters, digits, `-`, `_` and `.`, at most 63, a letter or \
         digit first and last",
        shorten(value, true)
    ))
}

/// Name of a container port (RFC 6335): what a Service's `targetPort` may say.
pub(super) fn service_name(name: &str) -> Check {
    let good = is_label(name)
        && name.len() <= 15
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--");
    shape(name, good, "lower-case letters, digits and single `-`, a letter among them, at most 15")
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of_any_length(name)
}

fn is_label_of_any_length(name: &str) -> bool {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(outer)
        && name.ends_with(outer)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn shape(name: &str, good: bool, allowed: &str) -> Check {
    shape_with(name, good, allowed, '-')
}

fn shape_with(name: &str, good: bool, allowed: &str, also: char) -> Check {
    if good {
        return Ok(());
    }
    if name.is_empty() {
        return Err("is empty: write a name".to_owned());
    }
    let hint =
        repaired(name, also).map_or_else(String::new, |repaired| format!(", such as `{repaired}`"));
    Err(format!("{} is not valid: use {allowed}{hint}", shorten(name, true)))
}

/// The name in lower case with other characters replaced, when that makes labels.
fn repaired(name: &str, also: char) -> Option<String> {
    let keep = |c: char| match c {
        _ if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
        _ if c == also => c,
        _ => '-',
    };
    let repaired: String = name.chars().map(keep).collect();
    let repaired = repaired.trim_matches(['-', '.']);
    let letter = |label: &str| label.starts_with(|c: char| c.is_ascii_lowercase());
    let mut labels = repaired.split('.');
    let good = repaired != name && labels.all(|label| is_label(label) && letter(label));
    good.then(|| repaired.to_owned())
}

/// One of a few words.
pub(super) fn one_of(word: &str, words: &[&str]) -> Check {
    if words.contains(&word) {
        return Ok(());
    }
    let hint =
        nearest(word, words).map_or_else(String::new, |name| format!(": did you mean `{name}`?"));
    Err(format!("must be one of {}, not {}{hint}", words.join(", "), shorten(word, true)))
}
