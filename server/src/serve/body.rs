//! The bytes of a file as the body of an answer.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// A part of a file, read piece by piece outside the threads that serve connections. At most one piece is in memory.
pub(super) struct FileBody {
    file: Arc<std::fs::File>,
    rest: Range<u64>,
    piece_bytes: usize,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    pub(super) fn new(file: Arc<std::fs::File>, part: Range<u64>, piece_bytes: usize) -> Self {
        Self { file, rest: part, piece_bytes, reading: None }
    }

    fn read(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, offset) = (Arc::clone(&self.file), self.rest.start);
        let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let mut piece = vec![0; left.min(self.piece_bytes)];
        tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut piece, offset)?;
            Ok(piece.into())
        })
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.read());
        let Poll::Ready(piece) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let piece = piece.map_err(io::Error::other).flatten();
        if let Ok(piece) = &piece {
            self.rest.start += piece.len() as u64;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

/// A body that tells how many bytes went through when it ends, whether whole or cut off.
pub(super) struct CountedBody<F: FnOnce(u64)> {
    inner: axum::body::Body,
    size_bytes: u64,
    end: Option<F>,
}

impl<F: FnOnce(u64)> CountedBody<F> {
    pub(super) fn new(inner: axum::body::Body, end: F) -> Self {
        Self { inner, size_bytes: 0, end: Some(end) }
    }
}

impl<F: FnOnce(u64) + Unpin> Body for CountedBody<F> {
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

impl<F: FnOnce(u64)> Drop for CountedBody<F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(self.size_bytes);
        }
    }
}
