//! The limits of this program, in one place.

/// How often the result of a template is rendered again.
pub(crate) const TEMPLATE_ROUNDS: usize = 8;
/// How large a rendered template may become.
pub(crate) const RENDERED_BYTES: usize = 1 << 20;
/// How many steps the template engine may take for one text; a real one takes a few dozen.
pub(crate) const TEMPLATE_STEPS: u64 = 200_000;
/// How large a spec may be. The largest one known has 40 KB, most of it keys.
pub(crate) const SPEC_BYTES: u64 = 4 << 20;
/// How large a page, a list of checksums, a signature or a manifest may be. The largest page known has 200 KB.
pub(crate) const SOURCE_DOCUMENT_BYTES: u64 = 16 << 20;
/// How much of a file is searched for secrets.
pub(crate) const LINTED_BYTES: u64 = 64 << 10;
/// A change of an image's size that is never worth a word.
pub(crate) const SIZE_CHANGE_BYTES: u64 = 16 << 20;
/// How many processes a step may have at once. The largest parallel builds have a few hundred.
pub(crate) const PROCESSES: usize = 2048;
/// How many lines of a failed script's output are repeated on the screen.
pub(crate) const FAILURE_LINES: usize = 15;
/// How long something in the cache may go unused.
pub(crate) const CACHE_AGE: std::time::Duration = std::time::Duration::from_hours(30 * 24);
/// How large the cache may be after a build: a few dozen Debian images with their packages.
pub(crate) const CACHE_BYTES: u64 = 32 << 30;
