//! Plots as SVG, without any script.
use std::fmt::Write;

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// Told apart by people who see colours differently, too.
pub(super) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999"];

/// A line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x_label: &'static str,
    pub(super) y_label: String,
    /// Where the x axis has marks, and what stands there.
    pub(super) x_ticks: Vec<(f64, String)>,
    pub(super) y_log: bool,
    pub(super) series: Vec<Series>,
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The next of 1, 2, 5, 10, ... that is not below.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|m| m * power)
        .find(|m| *m >= value * 0.999_999)
        .unwrap_or(value)
}

fn label(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.1}M", value / 1e6),
        v if v >= 1e4 => format!("{:.0}k", value / 1e3),
        v if v >= 10.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 0.1 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// From values to places.
struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    fn part(&self, value: f64) -> f64 {
        match self.log {
            true => {
                (value.max(self.low).ln() - self.low.ln())
                    / (self.high.ln() - self.low.ln()).max(1e-9)
            }
            false => (value - self.low) / (self.high - self.low).max(1e-9),
        }
    }

    fn marks(&self) -> Vec<f64> {
        if !self.log {
            let step = round_up((self.high - self.low) / 5.0);
            return (0..=10)
                .map(|n| self.low + step * f64::from(n))
                .take_while(|v| *v <= self.high * 1.000_001)
                .collect();
        }
        let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
        (low..=high).map(|n| 10f64.powi(n)).collect()
    }
}

fn open(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{t}</title>\
         <text x=\"{LEFT}\" y=\"16\" class=\"t\">{t}</text>",
        t = escape(title)
    )
}

fn y_axis(out: &mut String, scale: &Scale, y_label: &str) {
    for mark in scale.marks() {
        let y = y_at(scale, mark);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"g\"/><text \
                x=\"{:.1}\" y=\"{:.1}\" class=\"a e\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            label(mark)
        );
    }
    let _ = write!(
        out,
        "<text transform=\"rotate(-90)\" x=\"{:.1}\" y=\"14\" class=\"a m\">{}</text>",
        -(TOP + HEIGHT - BOTTOM) / 2.0,
        escape(y_label)
    );
}

fn y_at(scale: &Scale, value: f64) -> f64 {
    HEIGHT - BOTTOM - scale.part(value) * (HEIGHT - BOTTOM - TOP)
}

impl Plot {
    pub(super) fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|s| &s.points);
        let greatest = all().map(|p| p.1).fold(0.0, f64::max);
        let least = all()
            .map(|p| p.1)
            .filter(|v| *v > 0.0)
            .fold(f64::INFINITY, f64::min);
        let y = match self.y_log && least.is_finite() {
            true => Scale {
                low: 10f64.powf(least.log10().floor()),
                high: 10f64.powf(greatest.max(least * 1.01).log10().ceil()),
                log: true,
            },
            false => Scale { low: 0.0, high: round_up(greatest.max(1e-6)), log: false },
        };
        let ends = |f: fn(f64, f64) -> f64, from: f64| {
            self.x_ticks
                .iter()
                .map(|t| t.0)
                .chain(all().map(|p| p.0))
                .fold(from, f)
        };
        let x = Scale {
            low: ends(f64::min, f64::INFINITY),
            high: ends(f64::max, f64::NEG_INFINITY),
            log: false,
        };
        let x_at = |value: f64| LEFT + x.part(value) * (WIDTH - LEFT - RIGHT);
        let mut out = open(&self.title);
        y_axis(&mut out, &y, &self.y_label);
        for (at, text) in &self.x_ticks {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"a m\">{}</text>",
                x_at(*at),
                HEIGHT - BOTTOM + 16.0,
                escape(text)
            );
        }
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"a m\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 10.0,
            escape(self.x_label)
        );
        for series in &self.series {
            let colour = COLOURS[series.colour % COLOURS.len()];
            let points: Vec<String> = series
                .points
                .iter()
                .map(|(px, py)| format!("{:.1},{:.1}", x_at(*px), y_at(&y, *py)))
                .collect();
            let _ = write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" \
                    stroke-width=\"2\"><title>{}</title></polyline>",
                points.join(" "),
                escape(&series.name)
            );
            if series.points.len() <= 24 {
                for point in &points {
                    let (cx, cy) = point.split_once(',').unwrap_or_default();
                    let _ =
                        write!(out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3\" fill=\"{colour}\"/>");
                }
            }
        }
        out + "</svg>"
    }
}

/// A bar with its spread.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

pub(super) fn bars(title: &str, y_label: &str, bars: &[Bar]) -> String {
    let greatest = bars.iter().map(|b| b.greatest).fold(0.0, f64::max);
    let y = Scale { low: 0.0, high: round_up(greatest.max(1e-6)), log: false };
    let mut out = open(title);
    y_axis(&mut out, &y, y_label);
    let room = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
    let wide = (room * 0.6).min(90.0);
    for (at, bar) in bars.iter().enumerate() {
        let middle = LEFT + room * (at as f64 + 0.5);
        let (top, floor) = (y_at(&y, bar.value), y_at(&y, 0.0));
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
             <line x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" \
             stroke=\"currentColor\"/>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" class=\"a m\">{}</text><text x=\"{:.1}\" \
             y=\"{:.1}\" class=\"a\">{}</text>",
            middle - wide / 2.0,
            floor - top,
            COLOURS[bar.colour % COLOURS.len()],
            y_at(&y, bar.least),
            y_at(&y, bar.greatest),
            HEIGHT - BOTTOM + 16.0,
            escape(&bar.name),
            middle + 4.0,
            top - 5.0,
            label(bar.value)
        );
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_places_are_inside() {
        assert_eq!((round_up(3.0), round_up(11.0), round_up(0.02)), (5.0, 20.0, 0.02));
        let plot = Plot {
            title: "a < b".to_owned(),
            x_label: "x",
            y_label: "y".to_owned(),
            x_ticks: vec![(0.0, "0".to_owned()), (2.0, "2".to_owned())],
            y_log: true,
            series: vec![Series {
                name: "s".to_owned(),
                colour: 9,
                points: vec![(0.0, 0.1), (2.0, 90.0)],
            }],
        };
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b") && svg.contains(&format!("{LEFT:.1},")), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let empty = Plot { series: Vec::new(), y_log: false, ..plot };
        assert!(!empty.svg().contains("NaN"));
        assert!(!bars("b", "y", &[]).contains("NaN"));
    }
}
