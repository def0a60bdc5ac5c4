//! Bytes taken one by one as choices: what a fuzzer finds is a story that can be told again.

/// The choices that are left.
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 where none is left.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Some of the next bytes, as text.
    pub fn text(&mut self) -> String {
        let bytes = usize::from(self.below(24)).min(self.0.len());
        let (text, rest) = self.0.split_at(bytes);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}
