use super::{compile, parse, program};

#[test]
fn what_tcpdump_prints_is_read() {
    let arp = parse("4\n40 0 0 12\n21 0 1 2054\n6 0 0 262144\n6 0 0 0\n").unwrap();
    assert_eq!(arp[1], (21, 0, 1, 2054));
    assert_eq!(arp.len(), 4);
}

#[test]
fn a_cut_off_program_is_refused() {
    assert_eq!(parse("4\n40 0 0 12\n"), None);
    assert_eq!(parse("1\n40 0 0\n"), None);
    assert_eq!(parse(""), None);
}

#[test]
fn the_builtin_arp_filter_is_the_one_tcpdump_makes() {
    let compiled = compile("arp").unwrap();
    assert_eq!(compiled[..2], [(0x28, 0, 0, 12), (0x15, 0, 1, 0x0806)]);
    assert_eq!(program(1, "arp").unwrap().len(), 3 + compiled.len());
}

#[test]
fn a_filter_that_looks_like_an_option_is_a_filter() {
    assert!(compile("-w /tmp/x").unwrap_err().to_string().contains("syntax error"));
}
