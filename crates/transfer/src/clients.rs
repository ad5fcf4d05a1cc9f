//! The HTTP clients of a fetcher.

use std::sync::{Arc, OnceLock};

use reqwest::Client;
use rustls::ClientConfig;

use crate::address::Address;
use crate::error::TransferError;
use crate::fetcher::FetcherOptions;
use crate::redirect;

/// The clients for each kind of body, with and without the proxies of the environment. Each is made when it is needed
/// for the first time, as that takes a millisecond and most programs need one or two. Clones share them.
#[derive(Clone)]
pub(crate) struct Clients {
    tls: ClientConfig,
    options: FetcherOptions,
    proxied: Arc<[OnceLock<Client>; 2]>,
    direct: Arc<[OnceLock<Client>; 2]>,
}

/// What is requested. Documents may come compressed. Files never do: a range of a compressed body is no range of the
/// file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Document,
    File,
}

impl Clients {
    pub(crate) fn new(tls: ClientConfig, options: FetcherOptions) -> Self {
        Self { tls, options, proxied: Arc::default(), direct: Arc::default() }
    }

    /// The client for requests of this kind to the server of `address`.
    pub(crate) fn client(&self, kind: Kind, address: &Address) -> Result<&Client, TransferError> {
        let is_direct = address.is_loopback();
        let [documents, files] = if is_direct { &*self.direct } else { &*self.proxied };
        let place = match kind {
            Kind::Document => documents,
            Kind::File => files,
        };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let client = self.make(kind, is_direct).map_err(TransferError::Client)?;
        Ok(place.get_or_init(|| client))
    }

    fn make(&self, kind: Kind, is_direct: bool) -> Result<Client, reqwest::Error> {
        let FetcherOptions { limits, user_agent, .. } = &self.options;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(user_agent)
            .connect_timeout(limits.connect_timeout)
            .redirect(redirect::policy(limits.redirects))
            .referer(false);
        if let Kind::File = kind {
            builder = builder.no_gzip();
        }
        if is_direct {
            builder = builder.no_proxy();
        }
        builder.build()
    }
}
