//! All of it again in a user namespace, without a privilege on this machine.

use std::process::Command;

/// `/run` is private there, so that `ip netns` can keep its names in it.
const PREPARE: &str = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/netns \
                       && ip link set lo up && exec \"$@\"";

#[test]
fn everything_works_in_a_user_namespace() {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", PREPARE, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--skip", "userns::", "--test-threads", "4"])
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("the_kernel_does_not_answer_for_a_vip ... ok"), "{stdout}");
}
