//! How a program ends.

use std::error::Error;
use std::process::ExitCode;

use crate::printer::Printer;

/// How a program ended. Every program of ours uses the same three codes, and passes on the code of a program it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done: code 0.
    Done,
    /// The input or the data is bad: code 1.
    Refused,
    /// The machine or we failed: code 2.
    Failed,
    /// The code of something that ran on the user's behalf, such as a command in a container.
    Code(u8),
}

impl ExitStatus {
    /// The graver of two ends, where one program did several things. A passed on code other than 0 is the gravest: it is
    /// what the user asked for.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |status: Self| match status {
            Self::Done | Self::Code(0) => 0,
            Self::Refused => 1,
            Self::Failed => 2,
            Self::Code(_) => 3,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(match status {
            ExitStatus::Done => 0,
            ExitStatus::Refused => 1,
            ExitStatus::Failed => 2,
            ExitStatus::Code(code) => code,
        })
    }
}

/// What a command's error knows beyond its text.
pub trait Advice: Error {
    /// What the user can do about it, in one sentence without a full stop.
    fn hint(&self) -> Option<String>;

    /// The status the program ends with.
    fn exit_status(&self) -> ExitStatus;
}

/// Ends a program: prints the error, if there is one, and gives the code to return from `main`.
///
/// Data that could not be written to stdout turns success into failure; a reader that closed the pipe early does not.
pub fn finish<E: Advice>(printer: &Printer, result: Result<ExitStatus, E>) -> ExitCode {
    conclude(printer, result).into()
}

fn conclude<E: Advice>(printer: &Printer, result: Result<ExitStatus, E>) -> ExitStatus {
    let written = printer.flush();
    let status = result.unwrap_or_else(|error| {
        printer.error(&error, error.hint().as_deref());
        error.exit_status()
    });
    match (status, written) {
        (ExitStatus::Done, Err(error)) => {
            printer.error(&OutputError(error), None);
            ExitStatus::Failed
        }
        (status, _) => status,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct OutputError(#[source] std::io::Error);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};

    #[derive(Debug, thiserror::Error)]
    #[error("no image matches `debian/buster`")]
    struct NoImage;

    impl Advice for NoImage {
        fn hint(&self) -> Option<String> {
            Some("`rootcellar list debian` shows what there is".to_owned())
        }

        fn exit_status(&self) -> ExitStatus {
            ExitStatus::Refused
        }
    }

    struct FullDisk;

    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_status_has_its_code() {
        let codes = [ExitStatus::Done, ExitStatus::Refused, ExitStatus::Failed, ExitStatus::Code(130)];
        let expected = [0, 1, 2, 130].map(ExitCode::from);
        assert_eq!(format!("{:?}", codes.map(ExitCode::from)), format!("{expected:?}"));
    }

    #[test]
    fn the_graver_of_two_ends_remains() {
        assert_eq!(ExitStatus::Done.worse(ExitStatus::Refused), ExitStatus::Refused);
        assert_eq!(ExitStatus::Failed.worse(ExitStatus::Refused), ExitStatus::Failed);
        assert_eq!(ExitStatus::Failed.worse(ExitStatus::Done), ExitStatus::Failed);
        assert_eq!(ExitStatus::Code(0).worse(ExitStatus::Code(7)), ExitStatus::Code(7));
    }

    #[test]
    fn an_error_is_printed_with_its_hint_and_sets_the_status() {
        let (printer, captured) = Printer::captured(true);
        assert_eq!(conclude(&printer, Err(NoImage)), ExitStatus::Refused);
        assert_eq!(
            captured.stderr(),
            "error: no image matches `debian/buster`\nhint: `rootcellar list debian` shows what there is\n"
        );
    }

    #[test]
    fn data_that_could_not_be_written_is_a_failure() {
        let printer = Printer::over(FullDisk, io::sink(), false);
        printer.data("debian/trixie/amd64/default");
        assert_eq!(conclude::<NoImage>(&printer, Ok(ExitStatus::Done)), ExitStatus::Failed);
    }

    #[test]
    fn a_passed_through_code_survives() {
        let (printer, captured) = Printer::captured(false);
        assert_eq!(conclude::<NoImage>(&printer, Ok(ExitStatus::Code(42))), ExitStatus::Code(42));
        assert_eq!(captured.stderr(), "");
    }
}
