//! Requests to an object store, each waited for by the thread that makes it.

use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use fs_err as fs;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, RetryConfig, WriteMultipart};
use tokio::runtime::Runtime;

use crate::store::settings::{Redirect, Settings};

/// What speaks to one bucket. Keys are relative to the prefix of the settings.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) store: AmazonS3,
    /// The same bucket as clients of ours reach it, for the URLs they are redirected to.
    pub(super) public: Option<(AmazonS3, Duration)>,
    pub(super) owner: String,
    top: String,
    prefix: String,
    runtime: &'static Runtime,
}

impl Client {
    pub(super) fn open(settings: &Settings) -> io::Result<Self> {
        // Another part of the program may have done it; there is one provider everywhere.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |error| ObjectsError::io("open", &settings.place.to_string(), error);
        let builder = |endpoint: Option<&str>| {
            let options = ClientOptions::new()
                .with_timeout_disabled()
                .with_connect_timeout(PATIENCE)
                .with_read_timeout(STALLED)
                .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")));
            let retry = RetryConfig { max_retries: RETRIES, retry_timeout: GIVE_UP, ..RetryConfig::default() };
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(&settings.place.bucket)
                .with_client_options(options)
                .with_retry(retry);
            if let Some(region) = &settings.region {
                builder = builder.with_region(region);
            }
            match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            }
        };
        let endpoint = settings.endpoint.as_deref();
        let public = match &settings.redirect {
            Some(Redirect { endpoint: public, validity }) => {
                let public = builder(public.as_deref().or(endpoint)).build().map_err(failed)?;
                Some((public, Duration::from_secs(validity.seconds())))
            }
            None => None,
        };
        Ok(Self {
            store: builder(endpoint).build().map_err(failed)?,
            public,
            owner: settings.owner.clone(),
            top: settings.place.to_string(),
            prefix: settings.place.prefix.clone(),
            runtime: runtime()?,
        })
    }

    /// How people write the place of an object.
    pub(super) fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.top)
    }

    pub(super) fn key(&self, key: &str) -> Key {
        Key::from(format!("{}/{key}", self.prefix))
    }

    /// Waits for a request on the thread that wants its result.
    pub(super) fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.runtime.block_on(request)
    }

    fn failed(&self, verb: &'static str, key: &str) -> impl FnOnce(object_store::Error) -> io::Error + use<> {
        let url = self.url(key);
        move |error| ObjectsError::io(verb, &url, error)
    }

    /// What is known of an object; `None` when there is none.
    pub(super) fn head(&self, key: &str) -> io::Result<Option<ObjectMeta>> {
        if_there(self.wait(self.store.head(&self.key(key)))).map_err(self.failed("look at", key))
    }

    /// The first bytes of an object, up to one more than the limit.
    pub(super) fn read(&self, key: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let read = async {
            let mut stream = self.store.get(&self.key(key)).await?.into_stream();
            let mut bytes = Vec::new();
            while let Some(piece) = stream.try_next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > limit_bytes {
                    bytes.truncate(usize::try_from(limit_bytes + 1).unwrap_or(usize::MAX));
                    break;
                }
            }
            Ok(bytes)
        };
        if_there(self.wait(read)).map_err(self.failed("read", key))
    }

    /// The keys of every object below a directory.
    pub(super) fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let list = async {
            let mut keys = Vec::new();
            let mut stream = self.store.list(Some(&self.key(directory)));
            while let Some(object) = stream.try_next().await? {
                let key = object.location.as_ref().strip_prefix(self.prefix.as_str());
                keys.extend(key.map(|key| key.trim_start_matches('/').to_owned()));
            }
            Ok(keys)
        };
        self.wait(list).map_err(self.failed("list", directory))
    }

    /// Writes a small object.
    pub(super) fn put(&self, key: &str, content: Vec<u8>) -> io::Result<()> {
        self.wait(self.store.put(&self.key(key), content.into())).map(|_| ()).map_err(self.failed("write", key))
    }

    /// Writes a file as an object, which appears whole, and looks whether all of it is there.
    pub(super) fn upload(&self, key: &str, path: &Path) -> io::Result<()> {
        let size_bytes = fs::metadata(path)?.len();
        if size_bytes <= PART_BYTES as u64 {
            self.put(key, fs::read(path)?)?;
        } else {
            self.upload_in_parts(key, path)?;
        }
        let found = self.head(key)?.map_or(0, |meta| meta.size);
        if found == size_bytes {
            return Ok(());
        }
        let reason = format!("`{}` was cut off: expected {size_bytes} bytes, found {found} bytes", self.url(key));
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    fn upload_in_parts(&self, key: &str, path: &Path) -> io::Result<()> {
        let mut file = fs::File::open(path)?;
        self.wait(async {
            let upload = self.store.put_multipart(&self.key(key)).await.map_err(self.failed("write", key))?;
            let mut writing = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            loop {
                let mut part = Vec::with_capacity(PART_BYTES);
                if let Err(error) = file.by_ref().take(PART_BYTES as u64).read_to_end(&mut part) {
                    // What has arrived is the store's to forget, should this fail as well.
                    let _ = writing.abort().await;
                    return Err(error);
                }
                if part.is_empty() {
                    break;
                }
                if let Err(error) = writing.wait_for_capacity(PARTS_AT_A_TIME).await {
                    let _ = writing.abort().await;
                    return Err(self.failed("write", key)(error));
                }
                writing.put(Bytes::from(part));
            }
            writing.finish().await.map(|_| ()).map_err(self.failed("write", key))
        })
    }

    /// Copies an object within the bucket.
    pub(super) fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        self.wait(self.store.copy(&self.key(from), &self.key(to))).map_err(self.failed("copy", from))
    }

    /// Removes an object; none is as good as removed.
    pub(super) fn remove(&self, key: &str) -> io::Result<()> {
        if_there(self.wait(self.store.delete(&self.key(key)))).map(|_| ()).map_err(self.failed("remove", key))
    }
}

/// Where requests run: connections outlive a request, so it is one for the process, and it never ends.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

fn if_there<T>(result: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The object store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} `{url}`")]
pub struct ObjectsError {
    verb: &'static str,
    url: String,
    #[source]
    source: object_store::Error,
}

impl ObjectsError {
    pub(super) fn io(verb: &'static str, url: &str, source: object_store::Error) -> io::Error {
        io::Error::other(Self { verb, url: url.to_owned(), source })
    }

    /// Whether an error comes from an object store, and says nothing about what is stored there.
    pub fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }

    /// What the user can do.
    pub const HINT: &str = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and `rootcellar-server store show`";
}

const PATIENCE: Duration = Duration::from_secs(5);
const STALLED: Duration = Duration::from_secs(30);
const GIVE_UP: Duration = Duration::from_secs(30);
const RETRIES: usize = 4;
/// S3 takes no smaller part than 5 MiB, and no more than 10 000 of them.
const PART_BYTES: usize = 16 << 20;
const PARTS_AT_A_TIME: usize = 4;
