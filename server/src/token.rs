//! Tokens: what lets a builder upload.

use std::fmt;
use std::str::FromStr;

use formats::digest::Sha256;
use formats::image::ImageId;
use formats::name::Name;
use formats::time::Timestamp;

/// The secret itself, `rct_` and 64 hexadecimal digits. It is shown once, when it is made; what is stored is its
/// digest, which is enough to know it again, and enough for nothing else: 32 random bytes cannot be guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A fresh one.
    pub fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(format!("{PREFIX}{}", random_name()?)))
    }

    /// The digest that is stored.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }

    /// The secret as it is typed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotASecret)?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (digits.len() == 64 && digits.bytes().all(is_digit)).then(|| Self(text.to_owned())).ok_or(NotASecret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token")]
pub struct NotASecret;

/// The system has no random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandomness;

/// 64 hexadecimal digits that nobody can guess.
pub fn random_name() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(Sha256::of(&bytes).to_string())
}

/// A token as the operations database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What people call it.
    pub name: Name,
    /// What it allows.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it may be used.
    pub expires: Option<Timestamp>,
    /// Since when it may no longer be used.
    pub revoked: Option<Timestamp>,
    /// When it was last used to begin an upload.
    pub used: Option<Timestamp>,
}

impl Token {
    /// Whether it may be used.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The images that may be uploaded.
    pub images: ImageGlob,
    /// The channel they may be offered in.
    pub channel: Name,
}

impl Scope {
    /// Whether it covers this.
    pub fn covers(&self, image: &ImageId, channel: &Name) -> bool {
        self.channel == *channel && self.images.matches(image)
    }
}

/// Images by a pattern, in which `*` is any one part: `debian/*/*/default`. `*` alone is every image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageGlob(String);

impl ImageGlob {
    /// Whether it matches.
    pub fn matches(&self, image: &ImageId) -> bool {
        let image = image.to_string();
        self.0 == "*"
            || self.0.split('/').zip(image.split('/')).all(|(pattern, part)| pattern == "*" || pattern == part)
    }
}

impl FromStr for ImageGlob {
    type Err = BadGlob;

    fn from_str(text: &str) -> Result<Self, BadGlob> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_part = |part: &&str| *part == "*" || part.parse::<Name>().is_ok();
        let is_glob = text == "*" || (parts.len() == 4 && parts.iter().all(is_part));
        is_glob.then(|| Self(text.to_owned())).ok_or(BadGlob)
    }
}

impl fmt::Display for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no pattern for images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `*`, or four parts such as `debian/*/amd64/default`")]
pub struct BadGlob;

const PREFIX: &str = "rct_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_digest_and_shown_by_nothing_but_itself() {
        let secret = Secret::generate().unwrap();
        assert_eq!(secret.expose().parse::<Secret>().unwrap().digest(), secret.digest());
        assert_ne!(secret, Secret::generate().unwrap());
        assert!(!format!("{secret:?}").contains(&secret.expose()[4..]));
        for text in ["", "rct_", "rct_00", &secret.expose().to_uppercase(), &format!("{}0", secret.expose())] {
            assert_eq!(text.parse::<Secret>(), Err(NotASecret), "{text}");
        }
    }

    #[test]
    fn a_scope_covers_what_its_pattern_and_its_channel_say() {
        let scope = |glob: &str| Scope { images: glob.parse().unwrap(), channel: "staging".parse().unwrap() };
        let image: ImageId = "debian/trixie/amd64/default".parse().unwrap();
        let (staging, stable): (Name, Name) = ("staging".parse().unwrap(), "stable".parse().unwrap());
        for glob in ["*", "debian/*/*/*", "debian/trixie/amd64/default", "*/*/amd64/*"] {
            assert!(scope(glob).covers(&image, &staging) && !scope(glob).covers(&image, &stable), "{glob}");
        }
        for glob in ["debian/bookworm/*/*", "*/*/arm64/*"] {
            assert!(!scope(glob).covers(&image, &staging), "{glob}");
        }
        for text in ["", "debian", "debian/*", "debian/*/*/*/*", "deb*/*/*/*", "../*/*/*"] {
            assert!(text.parse::<ImageGlob>().is_err(), "{text}");
        }
    }
}
