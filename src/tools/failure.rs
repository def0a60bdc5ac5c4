//! Why a command of the command line did not do its work, and the exit code that says so.

use std::error::Error;
use std::fmt;
use std::io;

/// Exit code for a fault.
const EXIT_FAULT: u8 = 1;
/// Exit code where what was examined is not as it must be, or not the same.
const EXIT_FOUND: u8 = 2;
/// Exit code for bad usage or configuration.
pub const EXIT_USAGE: u8 = 64;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for in a way that cannot be: everything that is wrong with it.
    Usage(Vec<String>),
    /// What was examined is not as it must be, and where.
    Found(String),
    /// What was compared differs, which was told.
    Differs,
    /// What it found could not be written out.
    Output(io::Error),
    /// Something else went wrong.
    Fault(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The exit code that tells it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => EXIT_USAGE,
            Failure::Found(_) | Failure::Differs => EXIT_FOUND,
            Failure::Output(_) if self.is_reader_gone() => 0,
            Failure::Output(_) | Failure::Fault(_) => EXIT_FAULT,
        }
    }

    /// Whether there is nothing more to say.
    pub fn is_told(&self) -> bool {
        matches!(self, Failure::Differs) || self.is_reader_gone()
    }

    /// Whether only whoever read the output has seen enough, as `head` does: no fault at all.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// A fault with no cause but its text.
    pub fn text(text: impl Into<String>) -> Failure {
        Failure::Fault(text.into().into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(faults) => f.write_str(&faults.join("\n")),
            Failure::Found(text) => f.write_str(text),
            Failure::Differs => f.write_str("it would have gone otherwise"),
            Failure::Output(error) => write!(f, "cannot write the output: {error}"),
            Failure::Fault(error) => f.write_str(&chain(error.as_ref())),
        }
    }
}

impl Error for Failure {}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::text(text)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<Box<dyn Error + Send + Sync>> for Failure {
    fn from(error: Box<dyn Error + Send + Sync>) -> Failure {
        Failure::Fault(error)
    }
}

/// An error and what caused it, one line; a cause that its error repeats stands once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.ends_with(&own) {
            text.push_str(": ");
            text.push_str(&own);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn causes_are_chained_and_not_repeated() {
        let told = Failure::Fault(Box::new(Outer("cannot read it", io::Error::other("no such thing"))));
        assert_eq!(told.to_string(), "cannot read it: no such thing");
        let repeated = Outer("cannot read it: no such thing", io::Error::other("no such thing"));
        assert_eq!(chain(&repeated), "cannot read it: no such thing");
    }

    #[test]
    fn a_reader_who_has_seen_enough_is_no_fault() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(gone.is_reader_gone());
        assert_eq!(gone.exit_code(), 0);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit_code(), 1);
        assert_eq!(Failure::Found("x".into()).exit_code(), 2);
        assert_eq!(Failure::Usage(vec!["x".into()]).exit_code(), 64);
    }
}
