//! What the streams show of themselves: whether they hold everything that is published, and if not, why.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared with the health page.
#[derive(Debug, Default)]
pub struct Health(Mutex<Shown>);

#[derive(Debug, Default)]
struct Shown {
    is_in_step: bool,
    trouble: Option<String>,
}

impl Health {
    /// They take in everything as it is published; whether that is new.
    pub fn in_step(&self) -> bool {
        let was = std::mem::replace(&mut *self.shown(), Shown { is_in_step: true, trouble: None });
        !was.is_in_step
    }

    /// They are filled from the log.
    pub fn behind(&self) {
        self.shown().is_in_step = false;
    }

    /// They cannot be written; whether that is news.
    pub fn trouble(&self, why: &str) -> bool {
        let shown = Shown { is_in_step: false, trouble: Some(why.to_owned()) };
        std::mem::replace(&mut *self.shown(), shown).trouble.as_deref() != Some(why)
    }

    /// Whether they could not be written when it was last tried.
    pub fn is_troubled(&self) -> bool {
        self.shown().trouble.is_some()
    }

    /// Whether they are in step, and what is wrong if not.
    pub fn look(&self) -> (bool, Option<String>) {
        let shown = self.shown();
        (shown.is_in_step, shown.trouble.clone())
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_news_once_and_gone_when_the_streams_are_in_step() {
        let health = Health::default();
        assert!(health.trouble("away") && !health.trouble("away") && health.is_troubled());
        assert!(health.in_step() && !health.in_step());
        assert_eq!(health.look(), (true, None));
        health.behind();
        assert_eq!(health.look(), (false, None));
    }
}
