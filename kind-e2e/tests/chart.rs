//! The chart through the real Helm and its alerts through the real promtool, without a cluster.

mod chart {
    mod alerts;
    mod dashboards;
    mod image;
    mod rendered;
    mod values;
}
