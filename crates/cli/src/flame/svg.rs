//! The SVG: complete without a script (as an image in a page), interactive with it.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::colour::Palette;
use super::layout::{self, Frame};
use super::tree::{NO_FUNCTION, Tree};
use crate::data::trace::Trace;
use crate::names;

/// Width of the picture that is drawn without the script.
const WIDTH: f64 = 1200.0;
/// Height of a row.
const ROW: u32 = 18;
/// Room above and below the frames.
const HEAD: u32 = 70;
const FOOT: u32 = 30;
/// Room left and right of the frames.
const PAD: u32 = 12;
/// Frames narrower than this many pixels are not drawn without the script.
const LEAST: f64 = 0.6;
/// Width of a character of the frames' font, for labels that are drawn without the script.
const CHARACTER: f64 = 7.23;
/// Bytes that a file may have.
const MAX_BYTES: usize = 2_000_000;
/// Frames of the first try.
const MAX_FRAMES: usize = 16_000;
/// Names are cut at this length: nobody reads more, and some fill pages.
const MAX_NAME: usize = 400;

/// Texts of the graph.
#[derive(Debug)]
pub struct Labels {
    /// First line.
    pub title: String,
    /// Second line.
    pub subtitle: String,
    /// Label of the root.
    pub root: String,
    /// Labels of the nodes directly below the root, if these are threads; else empty.
    pub groups: Vec<String>,
}

/// Draws the tree. Narrow frames are left out until the file is below two megabytes.
#[must_use]
pub fn render(trace: &Trace, tree: &Tree, labels: &Labels) -> String {
    let mut budget = MAX_FRAMES;
    loop {
        let (frames, left_out) = layout::frames(tree, budget);
        let svg = Picture::new(trace, tree, labels, &frames).svg(left_out);
        if svg.len() <= MAX_BYTES || budget < 64 {
            return svg;
        }
        budget /= 2;
    }
}

/// A name as the frames share it.
struct Name {
    full: String,
    /// Without parameters and generics, if that is shorter.
    short: Option<String>,
    /// Index into the files; `None` for the root and threads.
    file: Option<usize>,
    class: Option<u32>,
}

struct Picture<'a> {
    tree: &'a Tree,
    labels: &'a Labels,
    frames: &'a [Frame],
    names: Vec<Name>,
    /// Index of the name of each frame.
    name_of: Vec<usize>,
    files: Vec<&'a str>,
    palette: Palette,
}

impl<'a> Picture<'a> {
    fn new(trace: &'a Trace, tree: &'a Tree, labels: &'a Labels, frames: &'a [Frame]) -> Self {
        let mut picture = Self {
            tree,
            labels,
            frames,
            names: Vec::new(),
            name_of: Vec::with_capacity(frames.len()),
            files: Vec::new(),
            palette: Palette::default(),
        };
        let (mut by_function, mut by_file) = (HashMap::new(), HashMap::new());
        for frame in frames {
            let function = tree.nodes[frame.node as usize].function;
            if function == NO_FUNCTION {
                picture.name_of.push(picture.names.len());
                let full = match frame.node {
                    0 => labels.root.clone(),
                    // Groups are made right after the root, in the order of their labels.
                    node => labels.groups.get(node as usize - 1).cloned().unwrap_or_default(),
                };
                picture.names.push(Name { full, short: None, file: None, class: None });
                continue;
            }
            let number = *by_function.entry(function).or_insert_with(|| {
                let meta = &trace.meta.functions[function as usize];
                let file = *by_file.entry(meta.file.as_str()).or_insert_with(|| {
                    picture.files.push(&meta.file);
                    picture.files.len() - 1
                });
                let demangled = names::demangle(&meta.name);
                let class = picture.palette.class(&demangled, names::base_name(&meta.file));
                let short = Some(names::compact(&demangled)).filter(|s| *s != demangled);
                let full = match demangled.char_indices().nth(MAX_NAME) {
                    Some((at, _)) => format!("{}…", &demangled[..at]),
                    None => demangled,
                };
                picture.names.push(Name { full, short, file: Some(file), class: Some(class) });
                picture.names.len() - 1
            });
            picture.name_of.push(number);
        }
        picture
    }

    fn svg(&self, left_out: usize) -> String {
        let visible = self.frames.iter().filter(|f| self.width(f) >= LEAST);
        let deepest = visible.map(|f| f.depth).max().unwrap_or(0);
        let height = HEAD + (deepest + 1) * ROW + FOOT;
        let mut out = String::with_capacity(256 * 1024);
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" viewBox=\"0 0 {WIDTH} {height}\">");
        let _ = writeln!(out, "<title>{}</title>", escape(&self.labels.title));
        let _ = writeln!(out, "<style>\n{}{}\n</style>", include_str!("flame.css"), self.palette.css());
        let _ = writeln!(out, "<rect id=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>");
        out.push_str("<g id=\"frames\">\n");
        self.frames_without_script(&mut out, height);
        out.push_str("</g>\n");
        let note = match left_out {
            0 => String::new(),
            n => format!("  ·  {} narrow stacks left out", crate::text::count(n as u64)),
        };
        let _ = writeln!(
            out,
            "<g id=\"head\"><rect id=\"headbg\" width=\"{WIDTH}\" height=\"{}\"/>\
             <text id=\"title\" x=\"{PAD}\" y=\"30\">{}</text>\
             <text id=\"subtitle\" x=\"{PAD}\" y=\"51\">{}{note}</text></g>\n\
             <text id=\"hint\" x=\"{PAD}\" y=\"{}\"></text>",
            HEAD - 6,
            escape(&self.labels.title),
            escape(&self.labels.subtitle),
            height - 9,
        );
        out.push_str("<script type=\"text/javascript\"><![CDATA[\nconst DATA = ");
        self.data(&mut out);
        out.push_str(";\n");
        out.push_str(include_str!("flame.js"));
        out.push_str("]]></script>\n</svg>\n");
        out
    }

    fn pixels(&self, ns: u64) -> f64 {
        let all = self.tree.nodes[0].total_ns.max(1) as f64;
        ns as f64 / all * (WIDTH - 2.0 * f64::from(PAD))
    }

    fn width(&self, frame: &Frame) -> f64 {
        match frame.node {
            0 => WIDTH - 2.0 * f64::from(PAD),
            node => self.pixels(self.tree.nodes[node as usize].total_ns),
        }
    }

    /// The frames that can be seen at the first look.
    fn frames_without_script(&self, out: &mut String, height: u32) {
        for (frame, &name) in self.frames.iter().zip(&self.name_of) {
            let node = &self.tree.nodes[frame.node as usize];
            let width = self.width(frame);
            if width < LEAST {
                continue;
            }
            let x = f64::from(PAD) + self.pixels(frame.start_ns);
            let y = height - FOOT - (frame.depth + 1) * ROW;
            let gap = if width > 3.0 { 1.0 } else { 0.3 };
            let name = &self.names[name];
            let class = name.class.map_or("group".into(), |c| format!("c{c}"));
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\"/>",
                width - gap,
                ROW - 1
            );
            let room = ((width - 8.0) / CHARACTER).max(0.0) as usize;
            if room >= 3 {
                // As in the report: times are estimates. The script has the same limit.
                let mark = if node.inferred * 20 >= node.calls.max(1) { "~" } else { "" };
                let label = format!("{mark}{}", names::shorten(&name.full, room - mark.len()));
                let _ = write!(out, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 4.0, y + ROW - 6, escape(&label));
            }
            out.push('\n');
        }
    }

    /// What the script draws from.
    fn data(&self, out: &mut String) {
        let _ = write!(
            out,
            "{{head:{HEAD},foot:{FOOT},row:{ROW},pad:{PAD},groups:{},frames:[",
            !self.labels.groups.is_empty()
        );
        for (frame, name) in self.frames.iter().zip(&self.name_of) {
            let node = &self.tree.nodes[frame.node as usize];
            let _ = write!(
                out,
                "{},{name},{},{},{},{},",
                frame.depth, node.total_ns, node.self_ns, node.calls, node.inferred
            );
        }
        out.push_str("],\nnames:[");
        for name in &self.names {
            let file = name.file.map_or(-1, |f| f as i64);
            let class = name.class.map_or(-1, i64::from);
            let _ = write!(out, "[{},{file},{class}", quote(&name.full));
            if let Some(short) = &name.short {
                let _ = write!(out, ",{}", quote(short));
            }
            out.push_str("],\n");
        }
        out.push_str("],\nfiles:[");
        for file in &self.files {
            let _ = write!(out, "{},", quote(file));
        }
        out.push_str("]}");
    }
}

/// For text and attributes of XML. Control characters are not allowed in XML at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// As a JavaScript string that can end neither its CDATA section nor a script element.
fn quote(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let json = serde_json::Value::from(clean).to_string();
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_break_neither_xml_nor_the_script() {
        assert_eq!(escape("a<b> & \"c\"\u{1}"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}");
        let quoted = quote("x]]></script><!--\"\\");
        assert!(!quoted.contains(['<', '>']), "{quoted}");
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), "x]]></script><!--\"\\");
    }
}
