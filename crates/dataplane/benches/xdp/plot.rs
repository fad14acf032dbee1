//! A diagram of the growth of costs.

use crate::mix::{TRAFFIC, Traffic};
use std::fmt::Write;
use std::time::Duration;

/// The measurements of one rule set.
pub(crate) struct Point {
    pub mix: &'static str,
    pub size: usize,
    /// A packet without rules, in the best round.
    pub floor: Duration,
    pub costs: Vec<Cost>,
}

/// What a packet of one kind costs.
pub(crate) struct Cost {
    pub traffic: Traffic,
    /// In the best round.
    pub time: Duration,
    /// To the floor, in the median round.
    pub ratio: f64,
}

pub(crate) fn name(traffic: Traffic) -> &'static str {
    TRAFFIC.iter().find(|(there, _)| *there == traffic).map_or("", |(_, name)| name)
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 48.0;
const COLOURS: [&str; 4] = ["#2b7a3d", "#1f5fa8", "#b06a00", "#a32020"];

/// One diagram a mix: rules (logarithmic) against nanoseconds a packet, with the floor.
pub(crate) fn draw(points: &[Point]) -> String {
    let mut mixes: Vec<&str> = points.iter().map(|point| point.mix).collect();
    mixes.dedup();
    let total = mixes.len() as f64 * (WIDTH + MARGIN) + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total} {}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        HEIGHT + 2.0 * MARGIN
    );
    for (n, mix) in mixes.iter().enumerate() {
        let points: Vec<&Point> = points.iter().filter(|point| point.mix == *mix).collect();
        diagram(&mut svg, mix, &points, MARGIN + n as f64 * (WIDTH + MARGIN));
    }
    svg + "</svg>\n"
}

fn diagram(svg: &mut String, mix: &str, points: &[&Point], left: f64) {
    let nanos = |time: Duration| time.as_nanos() as f64;
    let highest = points.iter().flat_map(|point| &point.costs).map(|cost| nanos(cost.time)).fold(100.0, f64::max);
    let step =
        [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0].into_iter().find(|step| highest / step <= 8.0).unwrap_or(2000.0);
    let top = (highest / step).ceil() * step;
    let smallest = points.iter().map(|point| point.size).min().unwrap_or(1) as f64;
    let largest = points.iter().map(|point| point.size).max().unwrap_or(10) as f64;
    let x = |size: f64| left + (size / smallest).log10() / (largest / smallest).log10().max(1.0) * (WIDTH - MARGIN);
    let y = |value: f64| MARGIN + HEIGHT * (1.0 - value / top);
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"24\" font-size=\"13\">{mix}: ns a packet by number of rules</text>");
    let mut value = 0.0;
    while value <= top {
        let at = y(value);
        let _ = writeln!(svg, "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/>", x(largest));
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>", left - 4.0, at + 4.0);
        value += step;
    }
    for point in points {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(point.size as f64),
            MARGIN + HEIGHT + 16.0,
            point.size
        );
    }
    let mut line = |values: Vec<(f64, f64)>, colour: &str, label: &str, dash: &str| {
        let path: Vec<String> =
            values.iter().map(|(size, value)| format!("{:.1},{:.1}", x(*size), y(*value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" {dash}/>",
            path.join(" ")
        );
        if let Some((size, value)) = values.last() {
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{label}</text>",
                x(*size) + 4.0,
                y(*value) + 4.0
            );
        }
    };
    let floor = points.iter().map(|point| (point.size as f64, nanos(point.floor))).collect();
    line(floor, "#888", "floor", "stroke-dasharray=\"4 3\"");
    for ((traffic, label), colour) in TRAFFIC.into_iter().zip(COLOURS) {
        let values: Vec<(f64, f64)> = points
            .iter()
            .filter_map(|point| {
                let cost = point.costs.iter().find(|cost| cost.traffic == traffic)?;
                Some((point.size as f64, nanos(cost.time)))
            })
            .collect();
        if !values.is_empty() {
            line(values, colour, label, "");
        }
    }
}
