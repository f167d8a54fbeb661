//! A plot of ratios: bars from 1, to the right where vipgate is better. The axis is logarithmic.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 320.0;
const ROW: f64 = 20.0;
/// The ends of the axis.
const MOST: f64 = 8.0;

/// As SVG.
pub(super) fn ratios(groups: &[(&str, Vec<(&str, f64)>)]) -> String {
    let rows: usize = groups.iter().map(|(_, peers)| peers.len() + 2).sum();
    let height = rows as f64 * ROW + 40.0;
    let middle = LABELS + (WIDTH - LABELS) / 2.0;
    let at = |ratio: f64| {
        let part = ratio.clamp(1.0 / MOST, MOST).ln() / MOST.ln();
        middle + part * (WIDTH - LABELS - 60.0) / 2.0
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for mark in [0.25, 0.5, 1.0, 2.0, 4.0] {
        let x = at(mark);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"24\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"#ccc\"/>\
             <text x=\"{x:.1}\" y=\"18\" text-anchor=\"middle\">{mark}</text>"
        );
    }
    let mut y = 44.0;
    for (title, peers) in groups {
        let _ = writeln!(text, "<text x=\"8\" y=\"{y:.1}\" font-weight=\"bold\">{title}</text>");
        y += ROW;
        for (peer, ratio) in peers {
            let (from, to) = (at(ratio.min(1.0)), at(ratio.max(1.0)));
            let colour = if *ratio >= 1.0 { "#2a7" } else { "#c63" };
            let _ = writeln!(
                text,
                "<text x=\"24\" y=\"{y:.1}\">{peer}</text><text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">\
                 {ratio:.2}</text><rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{colour}\"/>",
                LABELS - 8.0,
                y - 11.0,
                (to - from).max(1.0)
            );
            y += ROW;
        }
        y += ROW;
    }
    text += "</svg>\n";
    text
}
