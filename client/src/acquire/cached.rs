//! The build in the cache that answers a query.

use formats::arch::Arch;
use formats::image::{ImageId, ImageQuery};
use formats::index::BuildName;
use formats::time::Timestamp;

use crate::cache::{CachedBuild, CurrentBuild, Entry};
use crate::catalog::near;

/// A build that the cache may have, whole or damaged.
#[derive(Debug)]
pub(super) struct Cached<'a> {
    /// What is kept of its image.
    pub(super) entry: &'a Entry,
    pub(super) image: ImageId,
    pub(super) build: BuildName,
    /// Until when the server need not be asked for a newer one. A build that was asked for by name never changes.
    pub(super) fresh_until: Option<Timestamp>,
}

impl<'a> Cached<'a> {
    /// The build that is asked for by its name, or the current one of the image. Where a name has moved from one image
    /// to another, as `debian` does with a release, the one that was looked up last has it.
    pub(super) fn find(entries: &'a [Entry], query: &ImageQuery) -> Option<Self> {
        if let Some(wanted) = &query.build {
            return entries.iter().find_map(|entry| {
                let CachedBuild { image, aliases, build, .. } = entry.build(wanted)?;
                asks_for(query, &image, &aliases).then_some(Self { entry, image, build, fresh_until: None })
            });
        }
        let current = entries.iter().filter_map(|entry| {
            let CurrentBuild { image, aliases, build, fresh_until } = entry.current()?;
            asks_for(query, &image, &aliases).then_some(Self { entry, image, build, fresh_until: Some(fresh_until) })
        });
        current.max_by_key(|cached| cached.fresh_until)
    }
}

/// What the cache has instead: builds of the image if it has any, else images with names close to the query.
pub(super) fn near(entries: &[Entry], query: &ImageQuery) -> Vec<String> {
    let mut builds: Vec<CachedBuild> = entries.iter().flat_map(Entry::all).collect();
    builds.sort_by(|one, other| other.build.cmp(&one.build));
    let asked_for = builds.iter().filter(|build| asks_for(query, &build.image, &build.aliases));
    let others: Vec<_> =
        asked_for.take(MOST).map(|build| format!("{}@{}", query.name(), build.build.as_str())).collect();
    if !others.is_empty() {
        return others;
    }
    near::names(&query.name(), builds.iter().map(|build| (&build.image, build.aliases.as_slice())))
}

fn asks_for(query: &ImageQuery, image: &ImageId, aliases: &[String]) -> bool {
    query.matches(image, aliases.iter().map(String::as_str), Arch::host())
}

/// How many builds a hint lists.
const MOST: usize = 3;
