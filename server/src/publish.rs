//! Making a new generation of all documents.

mod previous;
mod rendered;
mod section;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use formats::name::Name;
use formats::time::{Span, Timestamp};
use terminal::Printer;

use crate::catalog::{Catalog, CatalogEntry, CatalogError};
use crate::channel::{Channel, ChannelError};
use crate::data::{DataDir, Writer};
use crate::delta::{DeltaError, DeltaList, Deltas};
use crate::documents::{self, DocumentError, Edition, Section, streams};
use crate::generation::Generation;
use crate::generation::draft::Draft;
use crate::keys::Keys;
use crate::retention::{Ledger, RetentionError};
use crate::store::{BuildId, Store};
use previous::Previous;
use rendered::Rendered;
use section::Part;

/// Makes generations. It keeps what it read of the store, so that a server that publishes again and again reads each
/// build once.
#[derive(Debug)]
pub struct Publisher {
    catalog: Catalog,
    deltas: DeltaList,
}

/// What a publish made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Serial and validity.
    pub edition: Edition,
    /// Each channel with the number of its images and builds.
    pub channels: Vec<(Name, usize, usize)>,
}

impl Publisher {
    /// A publisher for a data directory.
    pub fn new(data: &DataDir) -> Self {
        Self { catalog: Catalog::new(Store::new(data)), deltas: DeltaList::default() }
    }

    /// Makes a new generation of the documents of every channel, also when nothing changed: it has a new validity.
    /// Its serial and its time of publication never fall behind those of the generation before, even when the clock
    /// did, because clients refuse that as a rollback.
    pub fn publish(
        &mut self,
        writer: &Writer,
        keys: &Keys,
        now: Timestamp,
        validity: Span,
        printer: &Printer,
    ) -> Result<Published, PublishError> {
        let data = DataDir::clone(writer);
        let ledger = std::thread::spawn(move || Ledger::read(&data));
        let previous = Generation::current(writer)?;
        let edition = ending_with_its_key(edition(previous.as_ref(), now, validity)?, keys, printer)?;
        let old_files = previous.as_ref().map(Generation::files).transpose()?.unwrap_or_default();
        let mut draft = Draft::begin(writer, previous.as_ref())?;
        draft.add(documents::certificates(keys)?)?;
        let deltas = self.deltas.current(writer)?;
        let (mut selections, mut channels) = (Channel::all(writer)?, Vec::new());
        for channel in &selections {
            let old = previous.as_ref().map(|previous| Previous::read(previous, &old_files, &channel.name));
            let old = old.transpose()?.flatten().map(Arc::new);
            let sections = self.sections(writer, channel, old.as_ref(), &deltas, edition, printer)?;
            let images: usize = sections.values().map(|section| section.products().0.products.len()).sum();
            draft.add(documents::of_channel(&channel.name, &sections, edition, keys)?)?;
            channels.push((channel.name.clone(), images, channel.builds.len()));
        }
        draft.keep_dropped(now)?;
        draft.publish(edition.serial)?;
        let ledger = ledger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        note_published(writer, &mut selections, ledger, edition.published)?;
        Generation::remove_old(writer)?;
        Ok(Published { edition, channels })
    }

    /// The sections of a channel. Those whose builds and deltas are the ones of the generation before are taken over.
    fn sections(
        &mut self,
        writer: &Writer,
        channel: &Channel,
        old: Option<&Arc<Previous>>,
        deltas: &Deltas,
        edition: Edition,
        printer: &Printer,
    ) -> Result<BTreeMap<Name, Part>, PublishError> {
        let mut by_distribution: BTreeMap<&Name, Vec<&BuildId>> = BTreeMap::new();
        for build in &channel.builds {
            by_distribution.entry(&build.image.distribution).or_default().push(build);
        }
        let (mut sections, mut seen) = (BTreeMap::new(), Vec::new());
        for (distribution, builds) in by_distribution {
            let inputs = section::inputs(&builds, deltas);
            let known = Rendered::read(writer, &channel.name, distribution).filter(|known| known.inputs == inputs);
            let kept = known.as_ref().zip(old).and_then(|(known, old)| {
                let entry = old.entry(distribution).filter(|entry| entry.digest == known.products)?.clone();
                Some(Part::Kept { entry, distribution: distribution.clone(), previous: Arc::clone(old) })
            });
            let (part, fingerprints) = if let (Some(part), Some(known)) = (kept, known) {
                (part, known.fingerprints)
            } else {
                let found = self.builds(&builds, channel, printer)?;
                let entries: Vec<&CatalogEntry> = found.iter().map(AsRef::as_ref).collect();
                if entries.is_empty() {
                    continue;
                }
                let part = Part::of(distribution, &entries, deltas, edition.published)?;
                let fingerprints = section::fingerprints(&entries);
                // What was left out may be there next time.
                if entries.len() == builds.len() {
                    let note = Rendered::new(inputs, part.products().0.digest, fingerprints.clone());
                    note.write(writer, &channel.name, distribution)?;
                }
                (part, fingerprints)
            };
            seen.extend(fingerprints);
            sections.insert(distribution.clone(), part);
        }
        // A distribution has each of its own once.
        seen.sort_unstable();
        let is_ambiguous = seen.windows(2).any(|pair| pair.first() == pair.last());
        if is_ambiguous { self.ambiguous(channel, deltas, edition, printer) } else { Ok(sections) }
    }

    /// The sections of a channel in which images of two distributions have one fingerprint. Of those only the newest is
    /// offered to Incus, so no distribution can be looked at alone.
    fn ambiguous(
        &mut self,
        channel: &Channel,
        deltas: &Deltas,
        edition: Edition,
        printer: &Printer,
    ) -> Result<BTreeMap<Name, Part>, PublishError> {
        printer.warn(format_args!(
            "images of two distributions of channel `{}` have the same fingerprint; Incus is offered the newest only",
            channel.name
        ));
        let found = self.builds(&channel.builds.iter().collect::<Vec<_>>(), channel, printer)?;
        let entries: Vec<&CatalogEntry> = found.iter().map(AsRef::as_ref).collect();
        let mut sections = BTreeMap::new();
        for (distribution, products) in streams::by_distribution(&streams::products(&entries, deltas)) {
            let is_own = |entry: &&CatalogEntry| entry.record.image.distribution == distribution;
            let own: Vec<&CatalogEntry> = entries.iter().copied().filter(is_own).collect();
            let part = Part::with(&distribution, &products, &own, edition.published)?;
            sections.insert(distribution, part);
        }
        Ok(sections)
    }

    fn builds(
        &mut self,
        builds: &[&BuildId],
        channel: &Channel,
        printer: &Printer,
    ) -> Result<Vec<Arc<CatalogEntry>>, PublishError> {
        self.catalog.load(builds)?;
        let mut found = Vec::new();
        for build in builds {
            match self.catalog.entry(build)? {
                Some(entry) => found.push(entry),
                None => printer.warn(format_args!(
                    "channel `{}` names {build}, which is not in the store; it is left out",
                    channel.name
                )),
            }
        }
        Ok(found)
    }
}

/// Notes in the state of the channels and in the ledger what became visible. Each waits for the disk, so they are
/// written side by side.
fn note_published(
    writer: &Writer,
    channels: &mut [Channel],
    mut ledger: Ledger,
    published: Timestamp,
) -> Result<(), PublishError> {
    let changed: Vec<usize> = (0..channels.len()).filter(|index| channels[*index].note_published(published)).collect();
    let channels = &*channels;
    std::thread::scope(|scope| {
        let listed =
            scope.spawn(|| if ledger.note_published(channels, published) { ledger.write(writer) } else { Ok(()) });
        for channel in changed.into_iter().filter_map(|index| channels.get(index)) {
            channel.write(writer)?;
        }
        match listed.join() {
            Ok(outcome) => Ok(outcome?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Serials are the Unix time of publication, so that clients can tell one from the future.
fn edition(previous: Option<&Generation>, now: Timestamp, validity: Span) -> Result<Edition, PublishError> {
    let seconds = u64::try_from(now.unix()).unwrap_or(0);
    let Some(previous) = previous else {
        return Ok(Edition { serial: seconds, published: now, expires: now + validity });
    };
    let serial = seconds.max(previous.serial.saturating_add(1));
    let published = now.max(previous.edition()?.published);
    let tomorrow = now + Span::from_days(1);
    if published > tomorrow || serial > u64::try_from(tomorrow.unix()).unwrap_or(0) {
        let published = published.max(Timestamp::from_unix(i64::try_from(previous.serial).unwrap_or(i64::MAX)));
        return Err(PublishError::Clock { published, now });
    }
    Ok(Edition { serial, published, expires: published + validity })
}

/// The validity ends with that of the key that signs, because clients refuse from then on what it signed.
fn ending_with_its_key(edition: Edition, keys: &Keys, printer: &Printer) -> Result<Edition, PublishError> {
    let until = keys.repository.0.signs_until(edition.published).map_err(DocumentError::Sign)?;
    let Some(last) = until.map(|until| until - Span::from_seconds(1)).filter(|last| *last < edition.expires) else {
        return Ok(edition);
    };
    printer.warn(format_args!(
        "the signing subkey of the repository key ends {last}, and this generation with it; {RENEW} before that"
    ));
    Ok(Edition { expires: last.max(edition.published), ..edition })
}

/// How people get another signing subkey.
pub const RENEW: &str = "`rootcellar-server keys rotate` makes another";

/// Why there is no new generation. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The clock is a day behind what was published.
    #[error("the clock is behind the current generation: it was published {published}, now is {now}")]
    Clock {
        /// When the current generation was published.
        published: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// A channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A build.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The deltas.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// What is kept of which builds are listed.
    #[error(transparent)]
    Retention(#[from] RetentionError),
    /// A document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PublishError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Clock { .. } => {
                Some("set the clock of this machine; clients refuse an index from the future".to_owned())
            }
            Self::Catalog(_) => Some("`rootcellar-server verify` names every damaged file of the store".to_owned()),
            Self::Document(DocumentError::Sign(_)) => Some(
                "keys/README.md says how signing keys are renewed; the current generation stays as it is".to_owned(),
            ),
            Self::Delta(error) => error.hint(),
            Self::Channel(_) | Self::Retention(_) | Self::Document(_) | Self::Io(_) => None,
        }
    }
}
