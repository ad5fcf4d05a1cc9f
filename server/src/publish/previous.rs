//! What the generation before has for the next one.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use formats::compat::{CompatLevel, Mode};
use formats::name::Name;
use formats::streams::ProductsEntry;

use crate::documents::{classic, prefix};
use crate::generation::{FileId, Generation};

/// The documents of one channel, taken apart by distribution.
#[derive(Debug)]
pub(super) struct Previous {
    entries: BTreeMap<String, ProductsEntry>,
    indexes: BTreeMap<(Mode, CompatLevel), Arc<Text>>,
}

/// A classic index, and where the lines of each distribution are. They stand together, because it is sorted.
#[derive(Debug)]
struct Text {
    text: String,
    places: HashMap<String, Range<usize>>,
}

impl Previous {
    /// The documents of a channel; `None` if the generation does not have it.
    pub(super) fn read(
        generation: &Generation,
        files: &BTreeMap<String, FileId>,
        channel: &Name,
    ) -> io::Result<Option<Self>> {
        let prefix = prefix(channel);
        let (mut texts, mut indexes) = (HashMap::<FileId, Arc<Text>>::new(), BTreeMap::new());
        for (path, mode, level) in classic::paths() {
            let path = format!("{prefix}{path}");
            let Some(id) = files.get(&path) else { return Ok(None) };
            let text = match texts.get(id) {
                Some(text) => Arc::clone(text),
                None => Arc::new(Text::of(generation.read(&path)?)?),
            };
            texts.insert(*id, Arc::clone(&text));
            indexes.insert((mode, level), text);
        }
        let mut entries = generation.streams_index(&prefix)?.index;
        entries.retain(|_, entry| files.contains_key(&format!("{prefix}{}", entry.path)));
        Ok(Some(Self { entries, indexes }))
    }

    /// How the streams index lists the products file of a distribution, if that is there.
    pub(super) fn entry(&self, distribution: &Name) -> Option<&ProductsEntry> {
        self.entries.get(distribution.as_str())
    }

    /// The lines of a distribution in the index of a mode and level.
    pub(super) fn lines(&self, distribution: &Name, mode: Mode, level: CompatLevel) -> &str {
        let Some(index) = self.indexes.get(&(mode, level)) else { return "" };
        let place = index.places.get(distribution.as_str());
        place.and_then(|place| index.text.get(place.clone())).unwrap_or_default()
    }
}

impl Text {
    fn of(bytes: Vec<u8>) -> io::Result<Self> {
        let text = String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let (mut places, mut start) = (HashMap::<String, Range<usize>>::new(), 0);
        for line in text.split_inclusive('\n') {
            let distribution = line.split(';').next().unwrap_or_default();
            let end = start + line.len();
            match places.get_mut(distribution) {
                Some(place) => place.end = end,
                None => drop(places.insert(distribution.to_owned(), start..end)),
            }
            start = end;
        }
        Ok(Self { text, places })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_distribution_stand_together() {
        let text = Text::of(b"a;1;\na;2;\na-b;1;\nc;1;\n".to_vec()).unwrap();
        let lines = |name: &str| text.places.get(name).map(|place| &text.text[place.clone()]);
        assert_eq!([lines("a"), lines("a-b"), lines("c")], [Some("a;1;\na;2;\n"), Some("a-b;1;\n"), Some("c;1;\n")]);
        assert_eq!(lines("b"), None);
    }
}
