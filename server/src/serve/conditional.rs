//! Conditional and range requests (RFC 9110 sections 13 and 14).

use std::ops::Range;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// What is known of the thing asked for before any of it is read.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) size_bytes: u64,
    pub(super) etag: HeaderValue,
    pub(super) modified: Modified,
}

/// A time as clients see it: in whole seconds, with its text.
#[derive(Clone, Debug)]
pub(super) struct Modified {
    time: SystemTime,
    pub(super) header: HeaderValue,
}

impl From<SystemTime> for Modified {
    fn from(time: SystemTime) -> Self {
        // A date of HTTP is always a header value.
        let header = HeaderValue::from_str(&httpdate::fmt_http_date(time));
        Self { time, header: header.unwrap_or(HeaderValue::from_static("")) }
    }
}

/// Which part of it to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// Some of it.
    Part(Range<u64>),
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: there is no such part.
    Unsatisfiable,
}

impl Entity {
    /// What a request asks for.
    pub(super) fn select(&self, method: &Method, headers: &HeaderMap) -> Selection {
        if self.is_known(headers) {
            return Selection::NotModified;
        }
        let range = text(headers, &header::RANGE).filter(|_| method == Method::GET);
        match range {
            Some(range) if self.is_unchanged(headers) => self.part(range),
            _ => Selection::Whole,
        }
    }

    /// `If-Modified-Since` counts only without `If-None-Match`.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        if let Some(tags) = text(headers, &header::IF_NONE_MATCH) {
            let mut tags = tags.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
            return tags.any(|tag| tag == "*" || tag.as_bytes() == self.etag.as_bytes());
        }
        let since = text(headers, &header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
        since.is_some_and(|since| self.modified.time <= since)
    }

    /// Whether a range of what the client has fits to what is here (`If-Range`). Without this a download resumed over a
    /// changed file would be a splice of two.
    fn is_unchanged(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = headers.get(header::IF_RANGE) else { return true };
        let date = condition.to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok());
        condition == self.etag || date == Some(self.modified.time)
    }

    /// One range is honoured. Several, and other units, are answered with the whole, as the RFC allows.
    fn part(&self, range: &str) -> Selection {
        let Some(spec) = range.trim().strip_prefix("bytes=") else { return Selection::Whole };
        let Some((first, last)) = spec.trim().split_once('-') else { return Selection::Whole };
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let size = self.size_bytes;
        let part = match (first, last) {
            ("", last) => number(last).map(|last| size.saturating_sub(last)..size),
            (first, "") => number(first).map(|first| first..size),
            (first, last) => match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => Some(first..size.min(last.saturating_add(1))),
                _ => None,
            },
        };
        match part {
            None => Selection::Whole,
            Some(part) if part.start >= part.end => Selection::Unsatisfiable,
            Some(part) => Selection::Part(part),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity() -> Entity {
        let modified = httpdate::parse_http_date("Mon, 23 Nov 2026 05:22:00 GMT").unwrap();
        Entity { size_bytes: 100, etag: HeaderValue::from_static("\"abc\""), modified: modified.into() }
    }

    fn select(fields: &[(HeaderName, &str)]) -> Selection {
        let headers = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        entity().select(&Method::GET, &headers.collect())
    }

    #[test]
    fn one_range_is_honoured_and_others_give_the_whole() {
        for (range, expected) in [
            ("bytes=0-9", Selection::Part(0..10)),
            ("bytes=90-", Selection::Part(90..100)),
            ("bytes=-10", Selection::Part(90..100)),
            ("bytes=-1000", Selection::Part(0..100)),
            ("bytes=50-1000", Selection::Part(50..100)),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=9-0", Selection::Whole),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=18446744073709551616-", Selection::Whole),
            ("items=0-9", Selection::Whole),
            ("bytes", Selection::Whole),
        ] {
            assert_eq!(select(&[(header::RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn a_range_of_something_else_gives_the_whole() {
        let part = Selection::Part(0..10);
        for (condition, expected) in [
            ("\"abc\"", part.clone()),
            ("\"other\"", Selection::Whole),
            ("W/\"abc\"", Selection::Whole),
            ("Mon, 23 Nov 2026 05:22:00 GMT", part),
            ("Mon, 23 Nov 2026 05:22:01 GMT", Selection::Whole),
        ] {
            let outcome = select(&[(header::RANGE, "bytes=0-9"), (header::IF_RANGE, condition)]);
            assert_eq!(outcome, expected, "{condition}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(select(&[(header::IF_NONE_MATCH, tags)]), Selection::NotModified, "{tags}");
        }
        let same = (header::IF_MODIFIED_SINCE, "Mon, 23 Nov 2026 05:22:00 GMT");
        assert_eq!(select(std::slice::from_ref(&same)), Selection::NotModified);
        assert_eq!(select(&[(header::IF_NONE_MATCH, "\"x\""), same]), Selection::Whole);
        assert_eq!(select(&[(header::IF_MODIFIED_SINCE, "Mon, 23 Nov 2026 05:21:59 GMT")]), Selection::Whole);
    }
}
