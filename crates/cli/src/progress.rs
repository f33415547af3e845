//! Progress bars: on standard error, only when that is a terminal, only when it takes a while.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `total` records, named `what`; invisible when nobody is watching, and when it would
/// be over before it is noticed.
#[must_use]
pub fn bar(what: &'static str, total: u64) -> ProgressBar {
    if total < 1_000_000 { ProgressBar::hidden() } else { always(what, total) }
}

/// A bar over `total` slow steps, named `what`; invisible when nobody is watching.
#[must_use]
pub fn always(what: &'static str, total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{msg} {wide_bar:.cyan/dim} {percent:>3} %  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A line for work whose end nobody knows; its message is what there is to say.
#[must_use]
pub fn open_ended() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
