//! Making a new generation of all documents.

use std::io;
use std::sync::Arc;

use formats::name::Name;
use formats::time::{Span, Timestamp};
use terminal::Printer;

use crate::catalog::{Catalog, CatalogEntry, CatalogError};
use crate::channel::{Channel, ChannelError};
use crate::data::{DataDir, Writer};
use crate::delta::{DeltaError, DeltaList};
use crate::documents::{self, DocumentError, Documents, Edition};
use crate::generation::{Generation, KeptFile};
use crate::keys::Keys;
use crate::retention::{Ledger, RetentionError};
use crate::store::Store;

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
        let previous = Generation::current(writer)?;
        let edition = edition(previous.as_ref(), now, validity)?;
        let (mut documents, mut channels) = (Documents::new(), Vec::new());
        documents::add_certificates(&mut documents, keys)?;
        let deltas = self.deltas.current(writer)?;
        let mut selections = Channel::all(writer)?;
        for channel in &selections {
            let builds = self.builds(channel, printer)?;
            let builds: Vec<&CatalogEntry> = builds.iter().map(AsRef::as_ref).collect();
            documents::add_channel(&mut documents, &channel.name, &builds, &deltas, edition, keys)?;
            let mut images: Vec<_> = builds.iter().map(|build| &build.record.image).collect();
            images.sort();
            images.dedup();
            channels.push((channel.name.clone(), images.len(), builds.len()));
        }
        let kept = match &previous {
            Some(previous) => KeptFile::of(previous, &documents, now)?,
            None => Vec::new(),
        };
        Generation::publish(writer, edition.serial, &documents, &kept)?;
        for channel in &mut selections {
            if channel.note_published(edition.published) {
                channel.write(writer)?;
            }
        }
        Ledger::note_published(writer, &selections, edition.published)?;
        Generation::remove_old(writer)?;
        Ok(Published { edition, channels })
    }

    fn builds(&mut self, channel: &Channel, printer: &Printer) -> Result<Vec<Arc<CatalogEntry>>, PublishError> {
        let mut builds = Vec::new();
        for build in &channel.builds {
            match self.catalog.entry(build)? {
                Some(entry) => builds.push(entry),
                None => printer.warn(format_args!(
                    "channel `{}` names {build}, which is not in the store; it is left out",
                    channel.name
                )),
            }
        }
        Ok(builds)
    }
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
