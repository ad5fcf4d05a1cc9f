use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use xz2::stream::{Action, Error, MtStreamBuilder, Status, Stream};

use super::available_threads;

/// What a decoder may use.
#[derive(Clone, Debug)]
pub struct DecodeLimits {
    /// How many threads. Default: what the process may use.
    pub threads: u32,
    /// Memory that is never exceeded: a file that needs more even for one block is refused. Default: 512 MiB (`xz -9`
    /// needs 65 MiB; a block of [`super::XzOptions`] about 40 MiB a thread).
    pub memory_bytes: u64,
    /// Memory for several blocks at a time: with less of it, fewer are decoded in parallel. Default: as much as may be
    /// used at all.
    pub parallel_bytes: u64,
}

impl DecodeLimits {
    /// The default limits without a thread beside the caller's: for what is small, or one of many.
    pub fn one_thread() -> Self {
        Self { threads: 1, memory_bytes: MEMORY_BYTES, parallel_bytes: MEMORY_BYTES }
    }
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { threads: available_threads(), memory_bytes: MEMORY_BYTES, parallel_bytes: MEMORY_BYTES }
    }
}

/// Decompresses what it reads: blocks in parallel where the file has several, streams one after the other, with the
/// padding that may follow them. Bytes that are neither are an error, and so is an end before the index.
pub struct Decoder<R> {
    input: BufReader<R>,
    limits: DecodeLimits,
    state: State,
    /// The input had to be waited for.
    is_slow: bool,
    /// Nothing is decoded that was not handed out, as far as one can tell without waiting.
    is_drained: bool,
    /// The input has ended, and liblzma was told so.
    is_ending: bool,
}

enum State {
    Stream(Box<Stream>),
    /// After a stream, with the zero bytes seen since then.
    Between {
        padding_bytes: u64,
    },
    Done,
}

impl<R: Read> Decoder<R> {
    /// A decoder of the file `input`.
    pub fn new(input: R, limits: &DecodeLimits) -> io::Result<Self> {
        let state = State::Stream(Box::new(new_stream(limits)?));
        let input = BufReader::with_capacity(INPUT_BYTES, input);
        Ok(Self { input, limits: limits.clone(), state, is_slow: false, is_drained: true, is_ending: false })
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::Done => return Ok(0),
                State::Between { padding_bytes } => {
                    let input = self.input.fill_buf()?;
                    let zeros = input.iter().take_while(|byte| **byte == 0).count();
                    let at_end = input.is_empty();
                    let next_stream_follows = zeros < input.len();
                    self.input.consume(zeros);
                    *padding_bytes += zeros as u64;
                    if (at_end || next_stream_follows) && *padding_bytes % 4 != 0 {
                        return Err(invalid("stream padding of xz is not a multiple of four bytes"));
                    }
                    if at_end {
                        self.state = State::Done;
                    } else if next_stream_follows {
                        self.state = State::Stream(Box::new(new_stream(&self.limits)?));
                    }
                }
                State::Stream(stream) => {
                    // Where input comes slowly, what other threads have decoded is not kept waiting for it. Elsewhere
                    // the threads get all they can take, as only then several blocks are decoded at a time.
                    let is_empty = self.input.buffer().is_empty();
                    let is_draining = is_empty && self.is_slow && !self.is_drained && !self.is_ending;
                    let began = Instant::now();
                    let input = if is_draining { &[] } else { self.input.fill_buf()? };
                    if is_empty && !is_draining {
                        self.is_slow = began.elapsed() > PATIENCE;
                    }
                    self.is_ending |= !is_draining && input.is_empty();
                    let (read_before, written_before) = (stream.total_in(), stream.total_out());
                    let action = if self.is_ending { Action::Finish } else { Action::Run };
                    let status = stream.process(input, out, action).map_err(explain)?;
                    let read = usize::try_from(stream.total_in() - read_before).unwrap_or(input.len());
                    let written = usize::try_from(stream.total_out() - written_before).unwrap_or(out.len());
                    self.input.consume(read);
                    self.is_drained = is_draining && written == 0;
                    if status == Status::StreamEnd {
                        self.state = State::Between { padding_bytes: 0 };
                    }
                    if written > 0 {
                        return Ok(written);
                    }
                    if status == Status::MemNeeded && !is_draining && read == 0 {
                        return Err(if self.is_ending {
                            io::Error::new(io::ErrorKind::UnexpectedEof, "xz file ends too early")
                        } else {
                            invalid("xz data makes no progress")
                        });
                    }
                }
            }
        }
    }
}

fn new_stream(limits: &DecodeLimits) -> io::Result<Stream> {
    if limits.threads <= 1 {
        return Ok(Stream::new_stream_decoder(limits.memory_bytes, 0)?);
    }
    // A call that neither makes nor takes bytes only waited; liblzma tells when none ever will.
    let stream = MtStreamBuilder::new()
        .threads(limits.threads)
        .timeout_ms(PATIENCE.as_millis().try_into().unwrap_or(1))
        .memlimit_threading(limits.parallel_bytes.min(limits.memory_bytes))
        .memlimit_stop(limits.memory_bytes)
        .decoder()?;
    Ok(stream)
}

fn explain(error: Error) -> io::Error {
    match error {
        Error::MemLimit => invalid("xz data needs more memory than the limit allows"),
        Error::Format => invalid("not an xz file"),
        Error::Data => invalid("xz data is corrupt"),
        other => other.into(),
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// How long to wait for other threads before more input is looked for, and for input before it counts as slow.
const PATIENCE: Duration = Duration::from_millis(1);
const INPUT_BYTES: usize = 256 << 10;
const MEMORY_BYTES: u64 = 512 << 20;
