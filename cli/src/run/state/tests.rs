//! What a restart finds in the state file.

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{Claim, Origin, VipUser};

use super::*;

fn state(last: u8) -> State {
    let object = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"));
    let claim = Claim {
        pool: "lan".into(),
        users: vec![VipUser { object, ports: Vec::new(), terms: None }],
        origin: Origin::Chosen,
        published: true,
    };
    let claims = Claims([([10, 0, 0, last].into(), claim)].into());
    State { claims, holds: [([10, 0, 0, last].into(), u64::from(last))].into() }
}

#[test]
fn what_was_saved_is_read_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep/state.json");
    let (file, empty) = StateFile::open(&path).unwrap();
    assert_eq!(empty, State::default());
    file.save(&state(1)).unwrap();
    drop(file);
    assert_eq!(StateFile::open(&path).unwrap().1, state(1));
}

#[test]
fn a_damaged_file_falls_back_to_the_generation_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let (file, _) = StateFile::open(&path).unwrap();
    file.save(&state(1)).unwrap();
    file.save(&state(2)).unwrap();
    drop(file);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() - 2 {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().1, state(1), "cut at {length}");
    }
}

#[test]
fn a_file_of_version_1_is_still_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let text = r#"{
  "version": 1,
  "claims": {
    "10.0.0.1": {
      "pool": "lan",
      "gateway": {"namespace": "default", "name": "web"},
      "origin": "Chosen",
      "published": true
    }
  }
}"#;
    fs::write(&path, text).unwrap();
    let (file, read) = StateFile::open(&path).unwrap();
    assert_eq!(read, State { holds: Holds::new(), ..state(1) });
    file.save(&read).unwrap();
    drop(file);
    assert_eq!(StateFile::open(&path).unwrap().1, read);
}

#[test]
fn two_processes_cannot_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    let held = StateFile::open(&path).unwrap();
    let error = StateFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("in use by another vipgate"), "{error}");
    drop(held);
    StateFile::open(&path).unwrap();
}
