//! Which redirects are followed.

use reqwest::redirect::{Attempt, Policy};

/// A redirect that is not followed; `reason` completes "… redirects".
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct RedirectRefused {
    pub(crate) reason: String,
}

/// At most `limit` redirects, none of which gives up encryption. The reason names the target by its host only: the
/// rest may be a presigned, secret address.
pub(crate) fn policy(limit: usize) -> Policy {
    Policy::custom(move |attempt| match refusal(&attempt, limit) {
        Some(reason) => attempt.error(RedirectRefused { reason }),
        None => attempt.follow(),
    })
}

fn refusal(attempt: &Attempt<'_>, limit: usize) -> Option<String> {
    let (next, previous) = (attempt.url(), attempt.previous());
    let host = next.host_str().unwrap_or_default();
    if previous.len() > limit {
        Some(format!("more than {limit} times"))
    } else if !matches!(next.scheme(), "http" | "https") {
        Some(format!("to another protocol, `{}`", next.scheme()))
    } else if next.scheme() == "http" && previous.iter().any(|url| url.scheme() == "https") {
        Some(format!("from https to unencrypted http on `{host}`"))
    } else {
        None
    }
}
