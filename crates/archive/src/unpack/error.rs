use std::io;

use crate::ids::IdMap;
use crate::text::shown;

/// Why an archive was not unpacked, or not in full.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive ends before its end mark.
    #[error("archive ends too early, after {offset} bytes")]
    Truncated {
        /// How many bytes there were.
        offset: u64,
    },
    /// A block that should be a header is none.
    #[error("no valid tar header at byte {offset}: {problem}")]
    BadHeader {
        /// Where the block begins.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An extended header or sparse map is malformed.
    #[error("bad extended header of `{member}`: {problem}")]
    BadExtension {
        /// The member, as far as its name is known.
        member: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A member's name, or the name a hard link points to, is absolute, has `..` in it or is no file name.
    #[error("`{name}` is not a path inside of the archive")]
    BadName {
        /// The name.
        name: String,
    },
    /// A kind of member that has no place in an image.
    #[error("`{member}` is of the unknown kind `{kind}`")]
    UnknownKind {
        /// The member.
        member: String,
        /// The type flag of its header.
        kind: char,
    },
    /// A limit of [`super::UnpackLimits`] was reached.
    #[error("archive has more {what} than the limit of {limit} (at `{member}`)")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The member at which it was reached.
        member: String,
    },
    /// An owner that does not exist in this user namespace.
    #[error("`{member}` belongs to id {id}, and this user namespace holds {map} only")]
    IdOutsideMap {
        /// The member.
        member: String,
        /// Its owner.
        id: u64,
        /// The ids that exist.
        map: IdMap,
    },
    /// A hard link to something that was not unpacked, to a directory, or through a symbolic link.
    #[error("`{member}` is a hard link to `{target}`, which {problem}")]
    BadHardLink {
        /// The member.
        member: String,
        /// The name it points to.
        target: String,
        /// Why that cannot be linked to.
        problem: &'static str,
    },
    /// A member would replace a directory that is not empty.
    #[error("`{member}` would replace a directory that is not empty")]
    Occupied {
        /// The member.
        member: String,
    },
    /// A member would be in what is no directory: a file, or a link that leads to none.
    #[error("`{member}` would be in something that is no directory")]
    NoDirectory {
        /// The member.
        member: String,
    },
    /// The system refused.
    #[error("cannot {action} `{member}`")]
    System {
        /// What was being done.
        action: &'static str,
        /// The member.
        member: String,
        /// What the system said.
        source: io::Error,
    },
}

impl UnpackError {
    /// Whether the archive is at fault (as opposed to the machine, or to what the machine lets this process do).
    pub fn is_bad_data(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof),
            Self::Truncated { .. }
            | Self::BadHeader { .. }
            | Self::BadExtension { .. }
            | Self::BadName { .. }
            | Self::UnknownKind { .. }
            | Self::TooMuch { .. }
            | Self::BadHardLink { .. }
            | Self::Occupied { .. }
            | Self::NoDirectory { .. } => true,
            Self::IdOutsideMap { .. } | Self::System { .. } => false,
        }
    }

    /// Why the directory of a member could not be opened or made.
    pub(super) fn directory(member: &[u8]) -> impl FnOnce(rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        move |errno| match errno {
            Errno::EXIST | Errno::NOTDIR | Errno::LOOP => Self::NoDirectory { member: shown(member) },
            errno => Self::system("open the directory of", member)(errno),
        }
    }

    pub(super) fn system(action: &'static str, member: &[u8]) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System { action, member: shown(member), source: errno.into() }
    }
}
