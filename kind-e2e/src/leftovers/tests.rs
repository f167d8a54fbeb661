use super::{owner, prefix, start_time};

#[test]
fn a_name_tells_its_owner() {
    assert_eq!(owner("vglab-12-345-0arp-n1"), Some((12, 345)));
    assert_eq!(owner("vglab-12"), None);
    assert_eq!(owner("vglab-x-345-0arp-n1"), None);
    assert_eq!(owner("somebody-12-345-else"), None);
}

#[test]
fn own_names_are_owned_by_a_living_process() {
    let (pid, start) = owner(&format!("{}-0lab-n1", prefix())).expect("own prefix parses");
    assert_eq!(pid, std::process::id());
    assert_eq!(start_time(pid), Some(start));
}
