//! Names that clients ask for, and which listener or target they mean.

use std::cmp::Reverse;

/// The most specific of these whose name covers what is asked for: exact, then the longest wildcard,
/// then what takes every name. A client that asks for nothing means the last.
pub(super) fn best<'a, T>(
    candidates: impl Iterator<Item = (Option<&'a str>, T)>,
    asked: Option<&str>,
) -> Option<T> {
    candidates
        .filter(|(name, _)| covers(*name, asked))
        .min_by_key(|(name, _)| rank(*name))
        .map(|(_, candidate)| candidate)
}

fn covers(name: Option<&str>, asked: Option<&str>) -> bool {
    match (name, asked) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(name), Some(asked)) => match name.strip_prefix('*') {
            Some(suffix) => asked.len() > suffix.len() && asked.ends_with(suffix),
            None => name == asked,
        },
    }
}

fn rank(name: Option<&str>) -> (u8, Reverse<usize>) {
    match name {
        Some(name) if !name.starts_with('*') => (0, Reverse(name.len())),
        Some(name) => (1, Reverse(name.len())),
        None => (2, Reverse(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_wins() {
        let names = [None, Some("*.example.com"), Some("a.example.com"), Some("*.b.example.com")];
        let meant = |asked| best(names.iter().enumerate().map(|(i, name)| (*name, i)), asked);
        assert_eq!(meant(Some("a.example.com")), Some(2));
        assert_eq!(meant(Some("x.b.example.com")), Some(3));
        assert_eq!(meant(Some("b.example.com")), Some(1));
        assert_eq!(meant(Some("example.com")), Some(0));
        assert_eq!(meant(None), Some(0));
        assert_eq!(best([(Some("a"), ())].into_iter(), None), None);
    }
}
