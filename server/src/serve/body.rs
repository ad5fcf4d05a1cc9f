//! The bodies of answers.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::http::{Response, StatusCode};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use super::access_log::Entry;

/// A part of a file, read piece by piece. At most one piece is in memory.
pub(super) struct FileBody {
    file: Arc<std::fs::File>,
    rest: Range<u64>,
    buffers: Arc<Buffers>,
    reading: Option<JoinHandle<io::Result<Piece>>>,
}

impl FileBody {
    /// Pieces are as large as a buffer.
    pub(super) fn new(file: Arc<std::fs::File>, part: Range<u64>, buffers: &Arc<Buffers>) -> Self {
        Self { file, rest: part, buffers: Arc::clone(buffers), reading: None }
    }

    fn piece(&self) -> Piece {
        let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        Piece {
            buffer: self.buffers.take(),
            length: left.min(self.buffers.size_bytes),
            buffers: Arc::clone(&self.buffers),
        }
    }

    /// What the kernel has in memory is read at once; the disk is waited for outside the threads that serve
    /// connections.
    fn read(&self) -> Result<Piece, JoinHandle<io::Result<Piece>>> {
        let (mut piece, offset) = (self.piece(), self.rest.start);
        let slice = &mut [IoSliceMut::new(piece.bytes())];
        if let Ok(count @ 1..) = preadv2(&*self.file, slice, offset, ReadWriteFlags::NOWAIT) {
            piece.length = count;
            return Ok(piece);
        }
        let file = Arc::clone(&self.file);
        Err(tokio::task::spawn_blocking(move || {
            file.read_exact_at(piece.bytes(), offset)?;
            Ok(piece)
        }))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let reading = self.reading.take().map_or_else(|| self.read(), Err);
        let piece = match reading {
            Ok(piece) => Ok(piece),
            Err(mut reading) => match Pin::new(&mut reading).poll(context) {
                Poll::Ready(piece) => piece.map_err(io::Error::other).flatten(),
                Poll::Pending => {
                    self.reading = Some(reading);
                    return Poll::Pending;
                }
            },
        };
        if let Ok(piece) = &piece {
            self.rest.start += piece.length as u64;
        }
        Poll::Ready(Some(piece.map(|piece| Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

/// Bytes that lie in several places in memory, one after the other.
pub(super) struct Parts {
    rest: VecDeque<Bytes>,
    size_bytes: u64,
}

impl From<Vec<Bytes>> for Parts {
    fn from(parts: Vec<Bytes>) -> Self {
        Self { size_bytes: parts.iter().map(|part| part.len() as u64).sum(), rest: parts.into() }
    }
}

impl Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let part = self.rest.pop_front();
        self.size_bytes -= part.as_ref().map_or(0, |part| part.len() as u64);
        Poll::Ready(part.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size_bytes)
    }
}

/// Memory for pieces of files, used again and again: the kernel would have to clear fresh memory, and it would not be
/// in the processor's cache.
#[derive(Debug)]
pub(super) struct Buffers {
    size_bytes: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Buffers of one size.
    pub(super) fn new(size_bytes: usize) -> Self {
        Self { size_bytes, free: Mutex::default() }
    }

    fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| vec![0; self.size_bytes])
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST_FREE {
            free.push(buffer);
        }
    }
}

/// The part of a buffer that was read into. The buffer returns when nobody needs the piece any longer.
struct Piece {
    buffer: Vec<u8>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl Piece {
    fn bytes(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.length).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.buffers.give_back(std::mem::take(&mut self.buffer));
    }
}

/// The body of an answer that is counted and logged when it ends, whether whole or cut off.
pub(super) struct Logged {
    inner: axum::body::Body,
    status: StatusCode,
    size_bytes: u64,
    entry: Entry,
}

impl Logged {
    pub(super) fn answer(response: Response<axum::body::Body>, entry: Entry) -> Response<Self> {
        let status = response.status();
        response.map(|inner| Self { inner, status, size_bytes: 0, entry })
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.size_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.entry.end(self.status, self.size_bytes);
    }
}

/// As many as there are pieces under way with a few busy connections for each processor.
const MOST_FREE: usize = 64;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;

    use super::*;

    async fn content(file: std::fs::File, part: Range<u64>, buffers: &Arc<Buffers>) -> io::Result<Vec<u8>> {
        let mut body = FileBody::new(Arc::new(file), part, buffers);
        let mut content = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            content.extend_from_slice(frame?.data_ref().unwrap());
        }
        Ok(content)
    }

    #[tokio::test]
    async fn a_part_of_a_file_is_read_in_pieces_that_share_their_memory() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..200).collect();
        file.write_all(&bytes).unwrap();
        let buffers = Arc::new(Buffers::new(32));
        assert_eq!(content(file.try_clone().unwrap(), 3..150, &buffers).await.unwrap(), bytes[3..150]);
        assert_eq!(content(file, 0..200, &buffers).await.unwrap(), bytes);
        assert_eq!(buffers.free.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_file_that_ends_too_early_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"short").unwrap();
        let error = content(file, 0..100, &Arc::new(Buffers::new(32))).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
