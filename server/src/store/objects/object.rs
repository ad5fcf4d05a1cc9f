//! One object: reading it, and sending clients to it.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf as _, Bytes};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::signer::Signer as _;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore as _};

use super::client::{Client, ObjectsError};

/// An object that was found.
#[derive(Clone, Debug)]
pub struct Object {
    client: Arc<Client>,
    key: String,
    /// Its size.
    pub size_bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

impl Object {
    pub(super) fn new(client: Arc<Client>, key: String, meta: &ObjectMeta) -> Self {
        Self { client, key, size_bytes: meta.size, modified: meta.last_modified.into() }
    }

    /// Its bytes from the beginning. They are fetched when they are read.
    pub(crate) fn into_reader(self) -> Reader {
        let (whole, state) = (0..self.size_bytes, None);
        Reader { object: self, part: whole, state }
    }

    /// A part of it, piece by piece.
    pub async fn part(&self, part: Range<u64>) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(part)));
        let url = self.client.url(&self.key);
        let failed = move |error| ObjectsError::io("read", &url, error);
        let got = self.client.store.get_opts(&self.client.key(&self.key), options).await.map_err(failed.clone())?;
        Ok(got.into_stream().map_err(failed).boxed())
    }

    /// A URL by which anybody can fetch it for a while; `None` when clients are not to be sent there.
    pub async fn public_url(&self) -> io::Result<Option<String>> {
        let Some((store, validity)) = &self.client.public else { return Ok(None) };
        let url = store.signed_url(axum::http::Method::GET, &self.client.key(&self.key), *validity).await;
        let failed = |error| ObjectsError::io("sign a URL for", &self.client.url(&self.key), error);
        Ok(Some(url.map_err(failed)?.to_string()))
    }
}

/// Reads an object.
pub(crate) struct Reader {
    object: Object,
    part: Range<u64>,
    state: Option<(BoxStream<'static, io::Result<Bytes>>, Bytes)>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.part.is_empty() || buffer.is_empty() {
            return Ok(0);
        }
        let client = &self.object.client;
        let (stream, piece) = if let Some(state) = &mut self.state {
            state
        } else {
            let stream = client.wait(self.object.part(self.part.clone()))?;
            self.state.insert((stream, Bytes::new()))
        };
        while piece.is_empty() {
            match client.wait(stream.try_next())? {
                Some(next) => *piece = next,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = piece.len().min(buffer.len());
        let (Some(from), Some(to)) = (piece.get(..count), buffer.get_mut(..count)) else { return Ok(0) };
        to.copy_from_slice(from);
        piece.advance(count);
        self.part.start += count as u64;
        Ok(count)
    }
}
