//! What a look-up costs and what a subscription holds, drawn against the number of subscriptions.

use core::error::Error;
use core::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Row;

/// Pixels.
const SIZE: (u32, u32) = (1_000, 420);
/// Beyond both ends.
const SUBSCRIPTIONS: Range<f64> = 700.0..1_500_000.0;
const FONT: &str = "sans-serif";

type Area<'p> = DrawingArea<SVGBackend<'p>, Shift>;

/// One curve: a figure for each number of subscriptions.
type Curve = (String, Vec<(f64, f64)>);

/// # Errors
///
/// What went wrong with the file.
pub(super) fn draw(rows: &[Row], path: &Path) -> Result<(), Box<dyn Error>> {
    let whole = SVGBackend::new(path, SIZE).into_drawing_area();
    whole.fill(&WHITE)?;
    let (left, right) = whole.split_horizontally(SIZE.0 / 2);
    let work = curves(rows, "-match", |row| row.instructions);
    chart(
        &left,
        "instructions for a look-up of one topic",
        500.0..5e8,
        &work,
    )?;
    let memory = curves(rows, "-memory", |row| row.bytes);
    chart(
        &right,
        "bytes for one subscription",
        10.0..20_000.0,
        &memory,
    )?;
    whole.present()?;
    Ok(())
}

/// The curves of one phase of the subscription index, ours first.
fn curves(rows: &[Row], phase: &str, figure: fn(&Row) -> f64) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows {
        let len = row.workload.strip_prefix("T2-");
        let Some(len) = len.and_then(|len| len.strip_suffix(phase)).and_then(number) else {
            continue;
        };
        let point = (len, figure(row));
        let label = if row.is_right {
            row.subject.to_owned()
        } else {
            format!("{}, wrong answers", row.subject)
        };
        match curves.iter_mut().find(|(other, _)| *other == label) {
            Some((_, points)) => points.push(point),
            None => curves.push((label, Vec::from([point]))),
        }
    }
    curves
}

/// As workloads name it: `1k` or `1M`.
fn number(text: &str) -> Option<f64> {
    let (digits, factor) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1_000_000.0),
        None => (text.strip_suffix('k')?, 1_000.0),
    };
    Some(digits.parse::<f64>().ok()? * factor)
}

fn chart(
    area: &Area<'_>,
    title: &str,
    figures: Range<f64>,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(title, (FONT, 16))
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(SUBSCRIPTIONS.log_scale(), figures.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("subscriptions")
        .x_label_formatter(&|len| short(*len))
        .y_label_formatter(&|figure| short(*figure))
        .light_line_style(WHITE)
        .label_style((FONT, 12))
        .draw()?;
    for (place, (subject, points)) in curves.iter().enumerate() {
        let color = Palette99::pick(place);
        let width = if subject == "ours" { 3 } else { 1 };
        let style = color.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style).point_size(3))?
            .label(subject.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()?;
    Ok(())
}

/// With a letter for thousands and millions.
fn short(number: f64) -> String {
    match number {
        1e6.. => format!("{} M", number / 1e6),
        1e3.. => format!("{} k", number / 1e3),
        _ => number.to_string(),
    }
}
