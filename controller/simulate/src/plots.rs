//! Plots as SVG.

use plotters::prelude::*;

/// A curve and its name.
pub(crate) struct Line {
    pub(crate) name: String,
    /// Seconds, and the value.
    pub(crate) points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (960, 340);
const COLORS: [RGBColor; 7] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 92, 30),
    RGBColor(44, 150, 60),
    RGBColor(170, 50, 90),
    RGBColor(120, 90, 180),
    RGBColor(120, 110, 30),
    RGBColor(90, 90, 90),
];

/// Curves over time.
pub(crate) fn lines(title: &str, unit: &str, lines: &[Line]) -> Result<String, String> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let end = all().map(|(at, _)| *at).fold(1.0, f64::max);
    let top = all().map(|(_, value)| *value).fold(1.0, f64::max) * 1.08;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..end, 0.0..top)
            .map_err(|e| said(&e))?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_desc(unit)
            .light_line_style(WHITE.mix(0.0))
            .x_label_formatter(&|at| format!("{at:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()
            .map_err(|e| said(&e))?;
        for (line, color) in lines.iter().zip(COLORS.iter().cycle()) {
            let color = *color;
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))
                .map_err(|e| said(&e))?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .draw()
            .map_err(|e| said(&e))?;
        area.present().map_err(|e| said(&e))?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_curves() {
        let line = Line { name: "1.2.0".into(), points: vec![(0.0, 1.0), (1.0, 5.0)] };
        let svg = lines("Phones", "phones", &[line]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("1.2.0") && svg.contains("Phones"), "{svg}");
        assert!(lines("Nothing", "x", &[]).unwrap().starts_with("<svg"));
    }
}
