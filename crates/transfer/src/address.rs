//! A URL that is fetched, and how it may be shown.

use reqwest::Url;

use crate::error::TransferError;

/// An http or https URL. It may carry a password, so it has no `Debug`; what is shown is [`shown`](Self::shown).
pub(crate) struct Address {
    url: Url,
    shown: String,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, TransferError> {
        let refuse = |reason: String| TransferError::Url { url: without_credentials(text), reason };
        let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse(format!("expected `http` or `https`, found `{}`", url.scheme())));
        }
        Ok(Self { shown: masked(&url), url })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The URL for messages: without its password.
    pub(crate) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Whether the server is this machine. A proxy cannot reach that; its own loopback is another one.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.url.host_str().map(|host| host.trim_matches(['[', ']'])) {
            Some("localhost") => true,
            Some(host) => host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
            None => false,
        }
    }
}

/// `url` with `***` for its user name and password. A user name can be a token, so it goes too.
pub(crate) fn masked(url: &Url) -> String {
    let mut shown = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // These fail only for URLs that cannot have credentials.
        let _ = shown.set_password(None);
        let _ = shown.set_username("***");
    }
    shown.into()
}

/// The text of something that is no URL, without what may be meant as credentials in it.
fn without_credentials(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let urls = [
            "https://user:secret@host/a",
            "https://secret@host/a",
            "https://:secret@host/a",
            "https:\\\\u:secret@host/a",
        ];
        for url in urls {
            assert_eq!(Address::parse(url).ok().unwrap().shown(), "https://***@host/a", "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_credentials() {
        for text in [
            "user:secret@host/a",
            "ftp://user:secret@host/a",
            "https://user:secret@ho st/",
            "https://u:secret@host:99999",
        ] {
            let error = Address::parse(text).err().unwrap();
            assert!(matches!(error, TransferError::Url { .. }), "{text}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn this_machine_is_recognised_by_name_and_address() {
        let is_loopback = |url| Address::parse(url).ok().unwrap().is_loopback();
        assert!(["http://localhost:1/", "http://127.8.0.1/", "http://[::1]/"].into_iter().all(is_loopback));
        assert!(!["http://localhost.example/", "http://10.0.0.1/", "http://[::2]/"].into_iter().any(is_loopback));
    }
}
