//! Charts drawn here, as SVG with a name, and a table of the same figures for those
//! who cannot see them. Colours are classes; coordinates are integers.
//!
//! Refuses to know money: each point brings the text of its value.

use std::fmt::Write as _;

use super::{Markup, escaped};

const WIDTH: i128 = 720;
const HEIGHT: i128 = 240;
const LEFT: i128 = 76;
const RIGHT: i128 = 12;
const TOP: i128 = 14;
const BOTTOM: i128 = 30;
/// Horizontal lines, the lowest included.
const LINES: i128 = 4;

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Along the bottom, and in the table.
    pub(crate) label: String,
    /// What is drawn.
    pub(crate) value: i64,
    /// What is read.
    pub(crate) text: String,
}

/// Where values are on paper.
struct Scale {
    low: i128,
    high: i128,
    count: i128,
}

impl Scale {
    /// From zero or below to a round number above everything.
    fn of(values: impl Iterator<Item = i64> + Clone, count: usize) -> Self {
        let lowest = i128::from(values.clone().min().unwrap_or(0).min(0));
        let highest = i128::from(values.max().unwrap_or(0).max(0));
        let step = round_up(((highest - lowest).max(1) + LINES - 1) / LINES);
        let low = lowest.div_euclid(step) * step;
        let high = (low + step * LINES).max((highest + step - 1).div_euclid(step) * step);
        Self { low, high, count: i128::try_from(count.max(1)).unwrap_or(1) }
    }

    fn y(&self, value: i128) -> i128 {
        HEIGHT - BOTTOM - (value - self.low) * (HEIGHT - TOP - BOTTOM) / (self.high - self.low)
    }

    /// The middle of the place of the nth point.
    fn x(&self, index: usize) -> i128 {
        let index = i128::try_from(index).unwrap_or(0);
        LEFT + (2 * index + 1) * (WIDTH - LEFT - RIGHT) / (2 * self.count)
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, not below the step.
fn round_up(step: i128) -> i128 {
    let mut power = 1;
    while power * 10 <= step {
        power *= 10;
    }
    let nice = [power, 2 * power, 5 * power / 2, 5 * power, 10 * power];
    nice.into_iter().find(|nice| *nice >= step).unwrap_or(10 * power).max(1)
}

/// A line over time with the area beneath it. `axis` writes a value on the left axis.
#[allow(dead_code, reason = "the kit is for pages to come as well")]
pub(crate) fn line(title: &str, points: &[Point], axis: impl Fn(i64) -> String) -> Markup {
    let scale = Scale::of(points.iter().map(|point| point.value), points.len());
    let mut path = String::new();
    for (index, point) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let (x, y) = (scale.x(index), scale.y(i128::from(point.value)));
        let _ = write!(path, "{command}{x} {y}");
    }
    let mut marks = String::new();
    if let Some(last) = points.len().checked_sub(1) {
        let (first_x, last_x, base) = (scale.x(0), scale.x(last), scale.y(scale.low.max(0)));
        let _ = write!(
            marks,
            "<path class=\"chart-area\" d=\"{path}L{last_x} {base}L{first_x} {base}Z\"/><path class=\"chart-line\" d=\"{path}\"/>"
        );
        for (index, point) in points.iter().enumerate() {
            let (x, y) = (scale.x(index), scale.y(i128::from(point.value)));
            let told = escaped(&format!("{}: {}", point.label, point.text));
            let class = if index == last { "chart-dot chart-dot--last" } else { "chart-dot" };
            let _ = write!(
                marks,
                "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"><title>{told}</title></circle>"
            );
        }
    }
    framed(title, points, &scale, &marks, axis)
}

/// Bars side by side; below zero they hang.
#[allow(dead_code, reason = "the kit is for pages to come as well")]
pub(crate) fn bars(title: &str, points: &[Point], axis: impl Fn(i64) -> String) -> Markup {
    let scale = Scale::of(points.iter().map(|point| point.value), points.len());
    let width = ((WIDTH - LEFT - RIGHT) * 6 / (10 * scale.count)).clamp(2, 48);
    let zero = scale.y(0);
    let mut marks = String::new();
    for (index, point) in points.iter().enumerate() {
        let (x, y) = (scale.x(index) - width / 2, scale.y(i128::from(point.value)));
        let (top, height) = (y.min(zero), (y - zero).abs().max(1));
        let class = if point.value < 0 { "chart-bar chart-bar--below" } else { "chart-bar" };
        let told = escaped(&format!("{}: {}", point.label, point.text));
        let _ = write!(
            marks,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"3\"><title>{told}</title></rect>"
        );
    }
    framed(title, points, &scale, &marks, axis)
}

/// A line without axes, for a row of a table or a tile.
#[allow(dead_code, reason = "the kit is for pages to come as well")]
pub(crate) fn sparkline(name: &str, values: &[i64]) -> Markup {
    let (low, high) = (values.iter().min().copied(), values.iter().max().copied());
    let (Some(low), Some(high)) = (low, high) else { return Markup::default() };
    let (low, span) = (i128::from(low), (i128::from(high) - i128::from(low)).max(1));
    let last = i128::try_from(values.len().saturating_sub(1).max(1)).unwrap_or(1);
    let path: String = (0_i128..).zip(values).fold(String::new(), |mut path, (index, value)| {
        let command = if index == 0 { 'M' } else { 'L' };
        let y = 30 - (i128::from(*value) - low) * 28 / span;
        let _ = write!(path, "{command}{} {y}", 1 + index * 118 / last);
        path
    });
    let name = escaped(name);
    Markup(format!(
        "<svg class=\"sparkline\" viewBox=\"0 0 120 32\" role=\"img\" aria-label=\"{name}\"><path d=\"{path}\"/></svg>"
    ))
}

fn framed(
    title: &str,
    points: &[Point],
    scale: &Scale,
    marks: &str,
    axis: impl Fn(i64) -> String,
) -> Markup {
    let title = escaped(title);
    let mut grid = String::new();
    let step = (scale.high - scale.low) / LINES;
    for index in 0..=LINES {
        let value = scale.low + step * index;
        let (y, text) = (scale.y(value), escaped(&axis(i64::try_from(value).unwrap_or(i64::MAX))));
        let class = if value == 0 { "chart-zero" } else { "chart-grid" };
        let _ = write!(
            grid,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><text class=\"chart-text chart-text--end\" x=\"{}\" y=\"{}\">{text}</text>",
            WIDTH - RIGHT,
            LEFT - 10,
            y + 4,
        );
    }
    // As many labels as fit beside each other.
    let every = points.len().div_ceil(7).max(1);
    for (index, point) in points.iter().enumerate().step_by(every) {
        let (x, text) = (scale.x(index), escaped(&point.label));
        let y = HEIGHT - 8;
        let _ = write!(
            grid,
            "<text class=\"chart-text chart-text--middle\" x=\"{x}\" y=\"{y}\">{text}</text>"
        );
    }
    let rows = points.iter().fold(String::new(), |mut rows, point| {
        let (label, text) = (escaped(&point.label), escaped(&point.text));
        let _ =
            write!(rows, "<tr><th scope=\"row\">{label}</th><td class=\"number\">{text}</td></tr>");
        rows
    });
    Markup(format!(
        "<figure class=\"chart\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{grid}{marks}</svg>\
         <details class=\"chart-table\"><summary>Show as a table</summary><table class=\"table table--plain\"><caption class=\"visually-hidden\">{title}</caption><tbody>{rows}</tbody></table></details></figure>"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Point, Scale, bars, line, round_up, sparkline};

    fn points(values: &[i64]) -> Vec<Point> {
        let point =
            |value: &i64| Point { label: "<b>".to_owned(), value: *value, text: value.to_string() };
        values.iter().map(point).collect()
    }

    proptest! {
        #[test]
        fn everything_is_drawn_on_the_paper(values in prop::collection::vec(any::<i64>(), 1..40)) {
            let scale = Scale::of(values.iter().copied(), values.len());
            for (index, value) in values.iter().enumerate() {
                let (x, y) = (scale.x(index), scale.y(i128::from(*value)));
                prop_assert!((0..=720).contains(&x) && (14..=210).contains(&y), "{x} {y}");
            }
        }
    }

    #[test]
    fn steps_are_round() {
        for (step, round) in [(0, 1), (1, 1), (3, 5), (21, 25), (26, 50), (1_001, 2_000)] {
            assert_eq!(round_up(step), round, "{step}");
        }
    }

    #[test]
    fn charts_are_named_escaped_and_told_as_tables() {
        for chart in [
            line("\"Balance\"", &points(&[1, -5, 7]), |value| value.to_string()),
            bars("\"Balance\"", &points(&[]), |value| value.to_string()),
        ] {
            let html = chart.as_str();
            assert!(html.contains("aria-label=\"&quot;Balance&quot;\"") && html.contains("<table"));
            assert!(!html.contains("<b>") && !html.contains("style="));
        }
        assert_eq!(sparkline("x", &[]).as_str(), "");
        assert!(sparkline("x", &[5]).as_str().contains("<path"));
    }
}
