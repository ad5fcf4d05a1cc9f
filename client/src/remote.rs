//! A server, and why it is trusted.

mod table;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use formats::certificate::Fingerprint;
use formats::digest::Sha256;
use formats::layout;
use formats::name::Name;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use table::Table;

use crate::login::Login;

/// A configured server, and why it is trusted. In `client.toml` that is its `fingerprint`, or `trust = "tls"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Remote {
    /// Where the server is.
    pub url: ServerUrl,
    /// What vouches for its images.
    pub trust: Trust,
    /// Which selection of builds is used.
    pub channel: Name,
    /// A PEM file of certificates that are trusted for TLS besides the system's.
    pub ca: Option<PathBuf>,
}

impl Remote {
    /// Where images come from, and why.
    pub fn origin(&self) -> Origin {
        let Self { url, trust, channel, ca } = self.clone();
        Origin { url, trust, channel, ca }
    }
}

/// Where images come from, and why they are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where the server is.
    pub url: ServerUrl,
    /// What vouches for its images.
    pub trust: Trust,
    /// Which selection of builds is used.
    pub channel: Name,
    /// A PEM file of certificates that are trusted for TLS besides the system's.
    pub ca: Option<PathBuf>,
}

/// What vouches for the images of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signatures by this certificate.
    Pinned(Fingerprint),
    /// The TLS connection alone: whoever holds a certificate for the server's name may send anything. It is never the
    /// default, and it is stated whenever it is used.
    Tls,
}

impl Origin {
    /// The directory name of everything that is kept about this origin. Origins that differ in URL, key or channel
    /// share nothing: what one vouched for means nothing to the other.
    pub fn key(&self) -> String {
        let trust = match &self.trust {
            Trust::Pinned(fingerprint) => fingerprint.as_str(),
            Trust::Tls => "tls",
        };
        let identity = format!("{}\n{trust}\n{}", self.url.text, self.channel);
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let host: String = self.url.host().chars().map(plain).collect();
        format!("{}-{}", host.trim_start_matches(['.', '-']), &Sha256::of(identity.as_bytes()).to_string()[..16])
    }

    /// The URL of a document of the channel, or of a file it names.
    pub fn address(&self, path: &str) -> String {
        let path = path.trim_start_matches('/');
        if is_default_channel(&self.channel) {
            format!("{}/{path}", self.url.text)
        } else {
            format!("{}/{}/{path}", self.url.text, layout::channel(&self.channel))
        }
    }

    /// The URL of a document that all channels share, such as a certificate.
    pub fn shared_address(&self, path: &str) -> String {
        format!("{}/{path}", self.url.text)
    }
}

/// The channel of a remote that names none. Its documents are at the root of the repository.
pub fn default_channel() -> Name {
    // A name by its own rules: tested.
    DEFAULT_CHANNEL.parse().unwrap_or_else(|_| unreachable!("`{DEFAULT_CHANNEL}` is a name"))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_default_channel(channel: &Name) -> bool {
    channel.as_str() == DEFAULT_CHANNEL
}

/// The address of a server: http or https, without a slash at its end. It may hold a password, so what is shown is
/// not what is fetched.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    text: String,
}

impl ServerUrl {
    /// The server of the template's `--server HOST[:PORT][/PREFIX]`, which is always reached by https.
    pub fn of_template(server: &str) -> Result<Self, ParseServerUrlError> {
        if server.contains("://") { server.parse() } else { format!("https://{server}").parse() }
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Whether the server is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let name = self.name();
        name == "localhost" || name.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Whether a password is in the address.
    pub(crate) fn has_password(&self) -> bool {
        self.parsed().is_some_and(|url| url.password().is_some())
    }

    /// Whether the address names this user, or none.
    pub(crate) fn is_for(&self, user: &str) -> bool {
        let Some(url) = self.parsed().filter(|url| !url.username().is_empty()) else { return true };
        let other = self.as_user(&Login { user: user.to_owned(), password: String::new() });
        other.parsed().is_some_and(|other| other.username() == url.username())
    }

    /// The address for this user. It is not the identity of the server, which stays when a password changes.
    pub(crate) fn as_user(&self, login: &Login) -> Self {
        let Some(mut url) = self.parsed() else { return self.clone() };
        // What is set is escaped, but for what looks escaped already.
        let literal = |text: &str| text.replace('%', "%25");
        let is_set =
            url.set_username(&literal(&login.user)).and_then(|()| url.set_password(Some(&literal(&login.password))));
        if is_set.is_err() {
            return self.clone();
        }
        Self { text: String::from(url).trim_end_matches('/').to_owned() }
    }

    /// The name of the host, without a port.
    pub(crate) fn name(&self) -> String {
        self.parsed().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    fn parsed(&self) -> Option<Url> {
        Url::parse(&self.text).ok()
    }

    /// The host, with its port when that is not the usual one.
    pub fn host(&self) -> String {
        let Some(url) = self.parsed() else { return String::new() };
        let host = url.host_str().unwrap_or_default();
        url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl FromStr for ServerUrl {
    type Err = ParseServerUrlError;

    fn from_str(text: &str) -> Result<Self, ParseServerUrlError> {
        let refuse = |reason: String| ParseServerUrlError { found: without_credentials(text), reason };
        let url = Url::parse(text).map_err(|error| refuse(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refuse(format!("scheme `{}`", url.scheme())));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a query or fragment".to_owned()));
        }
        Ok(Self { text: String::from(url).trim_end_matches('/').to_owned() })
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ParseServerUrlError;

    fn try_from(text: String) -> Result<Self, ParseServerUrlError> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.text
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.text))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// Text that is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a server such as `https://images.example.org`, found `{found}`: {reason}")]
pub struct ParseServerUrlError {
    found: String,
    reason: String,
}

/// `user:password@` in an address becomes `***@`.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = authority.rsplit_once('@').map_or_else(|| authority.to_owned(), |(_, host)| format!("***@{host}"));
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    format!("{scheme}{host}{path}")
}

const DEFAULT_CHANNEL: &str = "stable";

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str, channel: &str) -> Origin {
        Origin {
            url: url.parse().unwrap(),
            trust: Trust::Pinned("0123456789ABCDEF0123456789ABCDEF01234567".parse().unwrap()),
            channel: channel.parse().unwrap(),
            ca: None,
        }
    }

    #[test]
    fn origins_that_differ_in_url_key_or_channel_share_nothing() {
        let one = origin("https://host:8443/p", "stable");
        let tls = Origin { trust: Trust::Tls, ..one.clone() };
        let keys = [
            one.key(),
            tls.key(),
            origin("https://host:8443/p", "testing").key(),
            origin("https://host", "stable").key(),
        ];
        for (position, key) in keys.iter().enumerate() {
            assert!(!keys[..position].contains(key), "{key}");
            assert!(key.starts_with("host") && !key.contains('/') && !key.contains(':'), "{key}");
        }
        assert_eq!(one.key(), origin("https://HOST:8443/p/", "stable").key());
    }

    #[test]
    fn documents_of_other_channels_are_below_their_prefix() {
        assert_eq!(
            origin("https://h/p", "stable").address("streams/v1/index.sjson"),
            "https://h/p/streams/v1/index.sjson"
        );
        assert_eq!(origin("https://h/p", "testing").address("/x"), "https://h/p/c/testing/x");
        assert_eq!(origin("https://h/p", "testing").shared_address("keys/A.pgp"), "https://h/p/keys/A.pgp");
    }

    #[test]
    fn a_templates_server_is_reached_by_https() {
        for (server, url) in [
            ("127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("mirror.example.org/lxc-images", "https://mirror.example.org/lxc-images"),
            ("Host.example.org:443/", "https://host.example.org"),
        ] {
            assert_eq!(String::from(ServerUrl::of_template(server).unwrap()), url);
        }
        for server in ["", "a b", "ftp://h", "h?x=1"] {
            assert!(ServerUrl::of_template(server).is_err(), "{server}");
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let url = ServerUrl::of_template("user:secret@host/p").unwrap();
        assert!(String::from(url.clone()).contains("secret"));
        assert!(!format!("{url} {url:?}").contains("secret"));
        assert_eq!(url.host(), "host");
        let error = ServerUrl::of_template("user:secret@ho st").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn a_login_reaches_the_server_as_it_is_and_is_never_shown() {
        let url = ServerUrl::of_template("m%40e@host:8443/p").unwrap();
        assert_eq!((url.is_for("m@e"), url.is_for("me"), url.has_password()), (true, false, false));
        let login = Login { user: "m@e".to_owned(), password: "s:e/c%41 r".to_owned() };
        let known = url.as_user(&login);
        assert_eq!(String::from(known.clone()), "https://m%40e:s%3Ae%2Fc%2541%20r@host:8443/p");
        assert_eq!(known.to_string(), "https://***@host:8443/p");
    }

    #[test]
    fn the_default_channel_is_a_name() {
        assert_eq!(default_channel().as_str(), DEFAULT_CHANNEL);
    }
}
