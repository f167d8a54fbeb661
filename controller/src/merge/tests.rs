use super::*;

const NOW: &str = "2026-11-27T12:00:00Z";
const THEN: &str = "2026-01-01T00:00:00Z";

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    json!({"type": kind, "status": status, "reason": "R", "message": "m",
        "observedGeneration": generation})
}

fn since(mut condition: Value, time: &str) -> Value {
    condition["lastTransitionTime"] = json!(time);
    condition
}

#[test]
fn the_times_of_conditions_that_stay_are_kept_and_a_second_merge_changes_nothing() {
    let seen = json!({"conditions": [
        since(condition("Accepted", "True", 1), THEN),
        since(condition("Programmed", "False", 1), THEN),
    ]});
    let ours = json!({"conditions": [
        condition("Accepted", "True", 2), condition("Programmed", "True", 2)]});
    let status = merged(Kind::Gateway, Some(&seen), &ours, NOW).unwrap();
    assert_eq!(status["conditions"][0], since(condition("Accepted", "True", 2), THEN));
    assert_eq!(status["conditions"][1], since(condition("Programmed", "True", 2), NOW));
    assert_eq!(merged(Kind::Gateway, Some(&status), &ours, "2027-01-01T00:00:00Z"), None);
}

#[test]
fn conditions_of_others_stay_where_they_are() {
    let foreign = since(condition("example.com/Seen", "True", 9), THEN);
    let seen = json!({"conditions": [foreign, since(condition("Accepted", "False", 1), THEN)]});
    let ours = json!({"conditions": [condition("Accepted", "True", 2)]});
    let status = merged(Kind::Gateway, Some(&seen), &ours, NOW).unwrap();
    assert_eq!(status["conditions"][0], foreign);
    assert_eq!(status["conditions"][1]["lastTransitionTime"], NOW);
}

#[test]
fn a_status_of_a_later_generation_is_left_alone() {
    let seen = json!({"conditions": [since(condition("Accepted", "False", 3), THEN)]});
    let ours = json!({"conditions": [condition("Accepted", "True", 2)]});
    assert_eq!(merged(Kind::Gateway, Some(&seen), &ours, NOW), None);
}

#[test]
fn the_ancestors_of_other_controllers_stay_and_there_are_never_more_than_sixteen() {
    let ancestor = |name: &str, controller: &str, status: &str| {
        let mut condition = condition("Accepted", status, 1);
        condition["reason"] = json!("Accepted");
        json!({"ancestorRef": {"name": name}, "controllerName": controller,
            "conditions": [condition]})
    };
    let timed = |mut ancestor: Value, time: &str| {
        ancestor["conditions"][0]["lastTransitionTime"] = json!(time);
        ancestor
    };
    let kind = Kind::BackendTlsPolicy;
    let theirs = timed(ancestor("web", "example.com/c", "True"), THEN);
    let seen = json!({"ancestors": [
        timed(ancestor("old", CONTROLLER_NAME, "True"), THEN), theirs,
        timed(ancestor("web", CONTROLLER_NAME, "True"), THEN)]});
    let ours = json!({"ancestors": [ancestor("web", CONTROLLER_NAME, "True"),
        ancestor("new", CONTROLLER_NAME, "False")]});
    let status = merged(kind, Some(&seen), &ours, NOW).unwrap();
    let kept = timed(ancestor("web", CONTROLLER_NAME, "True"), THEN);
    let new = timed(ancestor("new", CONTROLLER_NAME, "False"), NOW);
    assert_eq!(status["ancestors"], json!([theirs, kept, new]));
    assert_eq!(merged(kind, Some(&status), &ours, "2027-01-01T00:00:00Z"), None);
    let told: Vec<String> =
        transitions(Some(&seen), &status).iter().filter_map(|one| one.of.field()).collect();
    assert_eq!(told, ["status.ancestors{new}"]);
    // What is left of a policy that has nothing to do with us any more.
    let left = merged(kind, Some(&status), &json!({"ancestors": []}), NOW).unwrap();
    assert_eq!(left["ancestors"], json!([theirs]));

    let names: Vec<String> = (0..16).map(|n| format!("g{n}")).collect();
    let many = names.iter().map(|name| ancestor(name, CONTROLLER_NAME, "True"));
    let ours = json!({"ancestors": many.collect::<Vec<_>>()});
    let status = merged(kind, Some(&seen), &ours, NOW).unwrap();
    let list = status["ancestors"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]), (16, &theirs));
}

#[test]
fn the_parents_of_other_controllers_stay_and_ours_that_are_over_go() {
    let parent = |name: &str, controller: &str| {
        json!({"parentRef": {"name": name}, "controllerName": controller,
            "conditions": [since(condition("Accepted", "True", 1), THEN)]})
    };
    let seen = json!({"parents": [
        parent("old", CONTROLLER_NAME), parent("theirs", "example.com/c"), parent("kept", CONTROLLER_NAME)]});
    let ours = json!({"parents": [{"parentRef": {"name": "kept"}, "controllerName": CONTROLLER_NAME,
        "conditions": [condition("Accepted", "True", 1)]}]});
    let status = merged(Kind::TcpRoute, Some(&seen), &ours, NOW).unwrap();
    assert_eq!(
        status["parents"],
        json!([parent("theirs", "example.com/c"), parent("kept", CONTROLLER_NAME)])
    );
    assert_eq!(merged(Kind::TcpRoute, Some(&status), &ours, NOW), None);
    let nothing = merged(Kind::TcpRoute, Some(&status), &json!({"parents": []}), NOW).unwrap();
    assert_eq!(nothing["parents"], json!([parent("theirs", "example.com/c")]));
}

#[test]
fn only_changes_are_transitions() {
    let condition = |kind, status, generation| {
        let mut condition = condition(kind, status, generation);
        condition["reason"] = json!("Accepted");
        condition
    };
    let of_another = condition("example.com/Seen", "True", 2);
    let before = json!({"conditions": [condition("Accepted", "True", 1), condition("Programmed", "False", 1)]});
    let after = json!({"conditions": [of_another, condition("Accepted", "True", 2), condition("Programmed", "True", 2)]});
    let found = transitions(Some(&before), &after);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].condition.kind, ConditionType::Programmed);
    assert_eq!(found[0].condition.status, ConditionStatus::True);
}

#[test]
fn two_parent_refs_to_one_gateway_are_told_apart() {
    let parent = |section: &str, status: &str| {
        let reason = if status == "True" { "Accepted" } else { "NoMatchingParent" };
        json!({"parentRef": {"kind": "Gateway", "name": "web", "sectionName": section},
            "controllerName": CONTROLLER_NAME, "conditions": [{"type": "Accepted",
            "status": status, "reason": reason, "message": "m"}]})
    };
    let before = json!({"parents": [parent("a", "True"), parent("b", "False")]});
    let after = json!({"parents": [parent("a", "False"), parent("b", "False")]});
    let found = transitions(Some(&before), &after);
    let told: Vec<String> = found.iter().map(|one| one.of.to_string()).collect();
    assert_eq!(told, [" for web (sectionName a)"]);
}

#[test]
fn listeners_are_told_of_when_something_becomes_of_them_and_not_when_they_begin_well() {
    let listener = |name: &str, status: &str, reason: &str| {
        json!({"name": name, "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "m"},
            {"type": "Programmed", "status": status, "reason": reason, "message": "m"}]})
    };
    let begun = json!({"listeners": [
        listener("a", "False", "Pending"), listener("b", "False", "PortUnavailable")]});
    let found = transitions(None, &begun);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].of, Part::Listener("b".to_owned()));
    assert!(found[0].is_bad());
    // Whether it was seen on its way or not, that it is served is told once.
    let at_once = json!({"listeners": [listener("a", "True", "Programmed")]});
    assert_eq!(transitions(None, &at_once).len(), 1);
    let later = json!({"listeners": [
        listener("a", "True", "Programmed"), listener("b", "False", "PortUnavailable")]});
    let found = transitions(Some(&begun), &later);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].of, Part::Listener("a".to_owned()));
    assert_eq!(found[0].condition.status, ConditionStatus::True);
}

#[test]
fn a_service_without_an_address_is_left_as_an_api_server_writes_it() {
    let ours = json!({"loadBalancer": {"ingress": []}, "conditions": []});
    assert_eq!(merged(Kind::Service, Some(&json!({"loadBalancer": {}})), &ours, NOW), None);
    let seen = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1", "ipMode": "VIP"}]}});
    let status = merged(Kind::Service, Some(&seen), &ours, NOW).unwrap();
    assert_eq!(status["loadBalancer"], json!({}));
}

#[test]
fn a_condition_in_our_domain_goes_when_we_say_it_no_more() {
    let foreign = since(condition("example.com/Seen", "True", 9), THEN);
    let seen = json!({"conditions": [
        since(condition("vipgate.dev/AddressAssigned", "True", 1), THEN), foreign]});
    let status = merged(Kind::Service, Some(&seen), &json!({"conditions": []}), NOW).unwrap();
    assert_eq!(status["conditions"], json!([foreign]));
}

#[test]
fn a_condition_of_ours_that_is_not_said_any_more_goes() {
    let foreign = since(condition("example.com/Seen", "True", 1), THEN);
    let seen = json!({"parents": [{"parentRef": {"name": "a"}, "controllerName": CONTROLLER_NAME,
        "conditions": [since(condition("PartiallyInvalid", "True", 1), THEN), foreign]}]});
    let ours = json!({"parents": [{"parentRef": {"name": "a"}, "controllerName": CONTROLLER_NAME,
        "conditions": [condition("Accepted", "True", 2)]}]});
    let status = merged(Kind::TcpRoute, Some(&seen), &ours, NOW).unwrap();
    let conditions = &status["parents"][0]["conditions"];
    assert_eq!(*conditions, json!([foreign, since(condition("Accepted", "True", 2), NOW)]));
}

#[test]
fn a_condition_is_added_where_the_kind_has_them() {
    let contested = condition("Contested", "True", 1);
    let mut gateway = json!({"conditions": []});
    add_condition(&mut gateway, &contested);
    assert_eq!(gateway["conditions"], json!([contested]));
    let mut route = json!({"parents": [{"conditions": []}, {"conditions": []}]});
    add_condition(&mut route, &contested);
    assert_eq!(route["parents"][1]["conditions"], json!([contested]));
    let mut service = json!({"loadBalancer": {}});
    add_condition(&mut service, &contested);
    assert_eq!(service["conditions"], json!([contested]));
}
