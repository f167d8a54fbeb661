//! What counts as a typing error.

use super::nearest;

#[test]
fn finds_typing_errors_and_nothing_else() {
    let fields = ["listeners", "addresses", "gatewayClassName", "port", "hostname"];
    assert_eq!(nearest("listners", &fields), Some("listeners"));
    assert_eq!(nearest("GatewayclassName", &fields), Some("gatewayClassName"));
    assert_eq!(nearest("prot", &fields), Some("port"));
    assert_eq!(nearest("adresses", &fields), Some("addresses"));
    assert_eq!(nearest("filters", &fields), None);
    assert_eq!(nearest("", &fields), None);
    assert_eq!(nearest(&"x".repeat(1_000_000), &fields), None);
}
