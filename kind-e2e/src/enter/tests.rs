use super::Switches;

#[test]
fn advice_names_the_switch_that_forbids() {
    let restricted = Switches { apparmor_restricts: true, ..Switches::default() };
    assert!(restricted.advice().contains("kernel.apparmor_restrict_unprivileged_userns=0"));
    let forbidden = Switches { debian_forbids: true, ..Switches::default() };
    assert!(forbidden.advice().contains("kernel.unprivileged_userns_clone=1"));
    let none = Switches { none_allowed: true, ..Switches::default() };
    assert!(none.advice().contains("user.max_user_namespaces="));
}

#[test]
fn advice_without_a_known_switch_is_sudo() {
    assert!(Switches::default().advice().contains("sudo"));
}

#[test]
fn refusal_shows_advice_and_cause() {
    let error = super::EnterError::Refused { advice: "do this", said: "EPERM".into() };
    let text = error.to_string();
    assert!(text.contains("do this") && text.contains("EPERM"), "{text}");
}
