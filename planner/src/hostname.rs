//! Hostnames of listeners and routes: exact (`a.example.com`) or a wildcard (`*.example.com`, one or
//! more labels in front), compared without case.

use std::cmp::Reverse;

/// What a listener and a route have in common (Gateway API, `HTTPRoute.spec.hostnames`): the more
/// specific of the two names, if one covers the other. `None` stands for every name.
pub(crate) fn common(listener: Option<&str>, route: &[String]) -> Vec<Option<String>> {
    if route.is_empty() {
        return vec![listener.map(str::to_ascii_lowercase)];
    }
    let listener = listener.map(str::to_ascii_lowercase);
    let mut found: Vec<Option<String>> = Vec::new();
    for name in route {
        let name = name.to_ascii_lowercase();
        let both = match &listener {
            None => name,
            Some(listener) if covers(listener, &name) => name,
            Some(listener) if covers(&name, listener) => listener.clone(),
            Some(_) => continue,
        };
        if !found.contains(&Some(both.clone())) {
            found.push(Some(both));
        }
    }
    found
}

/// Whether every name that `specific` stands for is one that `wide` stands for.
fn covers(wide: &str, specific: &str) -> bool {
    match wide.strip_prefix('*') {
        None => wide == specific,
        Some(suffix) => {
            let tail = specific.strip_prefix('*').unwrap_or(specific);
            tail == suffix || (tail.len() > suffix.len() && tail.ends_with(suffix))
        }
    }
}

/// Sorts the most specific first: exact names, then wildcards, the longest first, then every name.
pub(crate) fn rank(name: Option<&str>) -> (u8, Reverse<usize>) {
    match name {
        Some(name) if !name.starts_with('*') => (0, Reverse(name.len())),
        Some(name) => (1, Reverse(name.len())),
        None => (2, Reverse(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(listener: &str, route: &[&str]) -> Vec<String> {
        let route: Vec<String> = route.iter().map(|name| (*name).to_owned()).collect();
        let listener = (!listener.is_empty()).then_some(listener);
        common(listener, &route).into_iter().map(|name| name.unwrap_or("any".to_owned())).collect()
    }

    #[test]
    fn the_more_specific_name_is_common() {
        assert_eq!(both("", &[]), ["any"]);
        assert_eq!(both("a.example.com", &[]), ["a.example.com"]);
        assert_eq!(both("", &["A.example.com"]), ["a.example.com"]);
        assert_eq!(
            both("*.example.com", &["a.example.com", "b.c.example.com"]),
            ["a.example.com", "b.c.example.com"]
        );
        assert_eq!(both("a.example.com", &["*.example.com"]), ["a.example.com"]);
        assert_eq!(both("*.a.example.com", &["*.example.com"]), ["*.a.example.com"]);
        assert_eq!(both("*.example.com", &["*.example.com"]), ["*.example.com"]);
        // The wildcard stands for at least one label.
        assert_eq!(both("*.example.com", &["example.com", "badexample.com"]), Vec::<String>::new());
        assert_eq!(both("a.example.com", &["b.example.com"]), Vec::<String>::new());
    }

    #[test]
    fn the_most_specific_sorts_first() {
        let mut names = [None, Some("*.example.com"), Some("a.b"), Some("*.a.example.com")];
        names.sort_by_key(|name| rank(*name));
        assert_eq!(names, [Some("a.b"), Some("*.a.example.com"), Some("*.example.com"), None]);
    }
}
