use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Texts that often have a long beginning in common, end in the padding, or are one byte longer than a start.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[\\x00ab]{0,3}", "a{13,16}[\\x00ab\u{e9}]{0,3}", "aaaaaaaaaaaaa[ab]{0,4}"]
}

proptest! {
    #[test]
    fn keys_compare_as_their_texts_do(
        (namespace, name, other_namespace, other_name) in (text(), text(), text(), text())
    ) {
        let key = ObjectKey::new(&*namespace, &*name);
        let other = ObjectKey::new(&*other_namespace, &*other_name);
        prop_assert_eq!(key.cmp(&other), (&namespace, &name).cmp(&(&other_namespace, &other_name)));
        prop_assert_eq!(key == other, key.cmp(&other).is_eq());
        let neighbour = ObjectKey::new(&*namespace, &*other_name);
        prop_assert_eq!(key.cmp(&neighbour), name.cmp(&other_name));
        let twin = ObjectKey::new(namespace, name);
        prop_assert_eq!(&key, &twin);
        prop_assert_eq!(HashSet::from([key, twin]).len(), 1);
    }
}
