//! How far a long look through a log has come, where a person sees it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, and none where that is no terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many steps; of an unknown number only those that were made are shown.
    pub fn new(steps: Option<u64>, what: &'static str) -> Progress {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let template = match steps {
            Some(_) => "{bar:40} {percent:>3}%  {msg} {pos}  {elapsed}, {eta} to go",
            None => "{spinner} {msg} {pos}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(steps, target).with_style(style);
        bar.set_message(what);
        Progress(bar)
    }

    /// So many steps are made.
    pub fn reached(&self, step: u64) {
        self.0.set_position(step);
    }

    /// Nothing is left of the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
