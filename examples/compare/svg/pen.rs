//! SVG elements, one at a time.

use std::fmt::Write;

/// Writes to a string, which cannot fail.
#[derive(Default)]
pub struct Pen {
    svg: String,
}

impl Pen {
    pub fn path(&mut self, class: &str, path: &str) {
        let _ = writeln!(self.svg, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    pub fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        let _ = writeln!(
            self.svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        self.text_with(class, [x, y], "", text);
    }

    /// Around or up to a point.
    pub fn text_anchored(&mut self, class: &str, [x, y]: [f64; 2], anchor: &str, text: &str) {
        self.text_with(class, [x, y], &format!(" text-anchor=\"{anchor}\""), text);
    }

    /// As wide as it is given, whatever the font.
    pub fn text_of_width(&mut self, class: &str, [x, y]: [f64; 2], width: f64, text: &str) {
        let exactly = format!(" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\"");
        self.text_with(class, [x, y], &exactly, text);
    }

    fn text_with(&mut self, class: &str, [x, y]: [f64; 2], attributes: &str, text: &str) {
        let text = escape(text);
        let _ =
            writeln!(self.svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{text}</text>");
    }

    /// What follows, up to `end_group`, shows the tooltip.
    pub fn begin_group(&mut self, class: &str, tooltip: &str) {
        let _ = writeln!(self.svg, "<g class=\"{class}\"><title>{}</title>", escape(tooltip));
    }

    pub fn end_group(&mut self) {
        self.svg.push_str("</g>\n");
    }

    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.svg)
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
