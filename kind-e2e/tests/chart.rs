//! The chart through the real Helm, without a cluster.

use anyhow::{Context, Result};
use vipgate_lab::cluster::{lint_chart, render_chart};

/// What `setting` changes: the lines that are rendered with it only.
fn lines(settings: &[&str]) -> Result<Vec<String>> {
    let rendered = render_chart("vipgate-system", settings)?;
    Ok(rendered.lines().map(|line| line.trim().to_owned()).collect())
}

#[test]
fn helm_finds_nothing_wrong_with_it() -> Result<()> {
    lint_chart(&[])?;
    for companion in ["service", "service-account", "none"] {
        lint_chart(&[&format!("controller.companion={companion}")])?;
    }
    lint_chart(&["gatewayClass.name=", "image.tag=v9"])
}

#[test]
fn a_wrong_value_is_refused_with_its_name() -> Result<()> {
    for (setting, named) in [
        ("controller.companion=services", "companion"),
        ("controller.replicas=0", "replicas"),
        ("speaker.tolerations=soon", "tolerations"),
        ("speaker.replicas=2", "replicas"),
        ("speakers.log=debug", "speakers"),
    ] {
        let error = render_chart("vipgate-system", &[setting]).err().context(setting)?;
        let text = format!("{error:#}");
        assert!(text.contains(named), "{setting}: {text}");
        assert!(lint_chart(&[setting]).is_err(), "lint takes {setting}");
    }
    Ok(())
}

#[test]
fn everything_is_where_it_is_installed() -> Result<()> {
    let rendered = render_chart("networking", &["image.repository=registry.example/vipgate"])?;
    let namespaces = rendered.lines().filter_map(|line| line.trim().strip_prefix("namespace: "));
    assert!(namespaces.clone().count() > 4);
    assert!(
        namespaces.clone().all(|one| one == "networking"),
        "{:?}",
        namespaces.collect::<Vec<_>>()
    );
    assert!(!rendered.contains("vipgate-system"), "a namespace is written down");
    let images = rendered.matches("image: registry.example/vipgate:").count();
    assert_eq!(images, 2, "{rendered}");
    let announced = ["L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Community"];
    for kind in ["IPAddressPool", "Backend", "VirtualIP", "Speaker"]
        .into_iter()
        .chain(announced)
        .chain(["ListenerPolicy", "BackendPolicy"])
    {
        assert!(rendered.contains(&format!("kind: {kind}\n")), "no CRD of {kind}");
    }
    Ok(())
}

#[test]
fn there_is_a_speaker_on_every_node_but_for_those_that_are_left_out() -> Result<()> {
    assert!(lines(&[])?.contains(&"kind: DaemonSet".to_owned()));
    let limited = lines(&["speaker.nodeSelector.role=edge"])?;
    assert!(limited.contains(&"role: edge".to_owned()), "{limited:#?}");
    let untolerant = lines(&["speaker.tolerations=null"])?;
    assert!(!untolerant.contains(&"tolerations:".to_owned()), "{untolerant:#?}");
    Ok(())
}

#[test]
fn there_is_a_class_if_one_is_wanted() -> Result<()> {
    let class = |settings: &[&str]| -> Result<bool> {
        Ok(lines(settings)?.contains(&"kind: GatewayClass".to_owned()))
    };
    assert!(class(&[])? && class(&["gatewayClass.name=mine"])?);
    assert!(!class(&["gatewayClass.name="])?);
    Ok(())
}
