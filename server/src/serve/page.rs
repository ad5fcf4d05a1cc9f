//! The pages for people: `/`, and `/images/<image>` for each image.
//!
//! They are made on the server and need no script. Everything on them is text: templates escape what they insert, and
//! the policy of the answer forbids scripts and foreign content.

pub(super) mod listing;
mod packages;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use askama::Template;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use formats::image::ImageId;
use formats::layout;
use formats::record::{BuildFile, BuildRecord};
use formats::serial::Serial;
use formats::time::Timestamp;
use terminal::human;

use super::State;
use super::respond::{answer_bytes, phrase};
use crate::documents::Edition;
use crate::limits::Limits;
use crate::store::{BuildId, Store};
use listing::{Build, Group, Image};
use packages::{Change, Package};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Page {
    /// The list.
    Images,
    /// One image.
    Image(ImageId),
    /// What the pages look like.
    Style,
}

/// How this server is reached, and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    /// `https://images.example.org:8443`.
    pub(super) url: String,
    /// Of the repository certificate.
    pub(super) fingerprint: String,
}

impl Site {
    fn host(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// The same server by the name in the address bar. A name that cannot be one is ignored.
    fn as_reached_by(&self, request: &Parts) -> Self {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri.authority().map(axum::http::uri::Authority::as_str));
        let is_name = |host: &&str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
            !host.is_empty() && host.len() <= LONGEST_HOST && host.bytes().all(is_allowed)
        };
        let is_plain_port = request.extensions.get::<PlainPort>().is_some();
        let url = host.filter(is_name).filter(|_| !is_plain_port).map(|host| format!("https://{host}"));
        Self { url: url.unwrap_or_else(|| self.url.clone()), fingerprint: self.fingerprint.clone() }
    }
}

/// Marks a request that came to the port for plain HTTP, whose address is none for TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainPort;

/// Pages that were made for one generation.
#[derive(Debug, Default)]
pub(super) struct Made {
    pages: Mutex<HashMap<Wanted, Bytes>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    page: Page,
    /// The words of a search, or the serial of a build.
    detail: String,
    site: Site,
    is_expired: bool,
}

/// Answers with a page.
pub(super) async fn show(state: &Arc<State>, request: &Parts, page: Page) -> Response {
    if page == Page::Style {
        let bytes = Bytes::from_static(STYLE.as_bytes());
        return secured(answer_bytes(request, &bytes, "text/css; charset=utf-8", &state.started));
    }
    let (snapshot, now) = (state.current.load_full(), Timestamp::from(SystemTime::now()));
    let detail = match &page {
        Page::Image(_) => parameter(request.uri.query(), "build"),
        _ => parameter(request.uri.query(), "q"),
    };
    let is_expired = now > snapshot.edition.expires;
    let wanted = Wanted { page, detail, site: state.site.as_reached_by(request), is_expired };
    let made = snapshot.pages.get(&wanted);
    let html = if let Some(html) = made {
        Ok(Some(html))
    } else {
        let (snapshot, state) = (Arc::clone(&snapshot), Arc::clone(state));
        let render = tokio::task::spawn_blocking(move || {
            let html = wanted.render(&snapshot, state.files.store())?.map(Bytes::from);
            if let Some(html) = &html {
                snapshot.pages.keep(wanted, html.clone());
            }
            Ok(html)
        });
        render.await.map_err(io::Error::other).flatten()
    };
    match html {
        Ok(Some(html)) => secured(answer_bytes(request, &html, "text/html; charset=utf-8", snapshot.modified())),
        Ok(None) => phrase(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::error!(%error, "A page cannot be made");
            phrase(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

impl Made {
    fn get(&self, wanted: &Wanted) -> Option<Bytes> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(wanted).cloned()
    }

    /// Searches are not kept: there is no end of them.
    fn keep(&self, wanted: Wanted, html: Bytes) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.page == Page::Images && !wanted.detail.is_empty() {
            return;
        }
        if pages.len() >= MOST_KEPT {
            pages.clear();
        }
        pages.insert(wanted, html);
    }
}

impl Wanted {
    fn render(&self, snapshot: &super::snapshot::Snapshot, store: &Store) -> io::Result<Option<String>> {
        let (site, edition, is_expired) = (&self.site, snapshot.edition, self.is_expired);
        let listing = snapshot.listing();
        let Page::Image(id) = &self.page else {
            let (groups, total) = listing.search(&self.detail, MOST_LISTED);
            let shown = total.min(MOST_LISTED);
            let page = ImagesPage { site, edition, is_expired, query: &self.detail, groups, total, shown };
            return page.render().map(Some).map_err(io::Error::other);
        };
        let serial = Some(self.detail.as_str()).filter(|serial| !serial.is_empty());
        let Some(image) = listing.image(id) else { return Ok(None) };
        let Some((build, before)) = image.build(serial) else { return Ok(None) };
        let of = |build: &Build| BuildId { image: id.clone(), serial: build.serial.clone() };
        let Some(record) = store.record(&of(build)).map_err(io::Error::other)? else { return Ok(None) };
        let read = |build: &Build| {
            let json = store.read(&of(build), BuildFile::PackagesJson.name(), Limits::default().packages_bytes)?;
            Ok::<_, io::Error>(json.and_then(|json| packages::parse(&json)))
        };
        let packages = read(build)?;
        let changes = match (&packages, before) {
            (Some(new), Some(before)) => {
                read(before)?.map(|old| Changes { since: before.serial.clone(), list: packages::changes(&old, new) })
            }
            _ => None,
        };
        let page = ImagePage {
            site,
            edition,
            is_expired,
            image,
            build,
            is_newest: serial.is_none_or(|serial| image.newest.serial.as_str() == serial),
            commands: commands(site, &record),
            files: files(&record),
            record,
            changes,
            packages,
        };
        page.render().map(Some).map_err(io::Error::other)
    }
}

#[derive(Template)]
#[template(path = "images.html")]
struct ImagesPage<'a> {
    site: &'a Site,
    edition: Edition,
    is_expired: bool,
    query: &'a str,
    groups: Vec<Group<'a>>,
    total: usize,
    shown: usize,
}

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage<'a> {
    site: &'a Site,
    edition: Edition,
    is_expired: bool,
    image: &'a Image,
    build: &'a Build,
    is_newest: bool,
    record: BuildRecord,
    commands: Vec<CommandLine>,
    files: Vec<FileRow>,
    changes: Option<Changes>,
    packages: Option<Vec<Package>>,
}

struct Changes {
    since: Serial,
    list: Vec<Change>,
}

impl Changes {
    /// How many packages changed in each way, `2 changed, 1 added`.
    fn summary(&self) -> String {
        let count = |kind: &str| self.list.iter().filter(|change| change.kind == kind).count();
        let counts = ["changed", "added", "removed"].map(|kind| (count(kind), kind));
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{count} {kind}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

struct CommandLine {
    program: &'static str,
    line: String,
}

struct FileRow {
    name: &'static str,
    path: String,
    size: String,
    sha256: String,
}

/// How a host makes a container of the image. Names of images hold no character that a shell would read.
fn commands(site: &Site, record: &BuildRecord) -> Vec<CommandLine> {
    let (image, url) = (&record.image, &site.url);
    let is_default = image.variant.as_str() == ImageId::DEFAULT_VARIANT;
    let alias = format!("{}/{}", image.distribution, image.release);
    let alias = if is_default { alias } else { format!("{alias}/{}", image.variant) };
    let mut commands = vec![CommandLine {
        program: "rootcellar",
        line: format!(
            "rootcellar remote add default {url} --fingerprint {}\nrootcellar create NAME {image}",
            site.fingerprint
        ),
    }];
    if record.files.contains_key(&BuildFile::IncusTarXz) {
        let line = format!("incus remote add cellar {url} --protocol simplestreams\nincus launch cellar:{alias} NAME");
        commands.push(CommandLine { program: "Incus", line });
    }
    if record.files.contains_key(&BuildFile::MetaTarXz) {
        let variant = if is_default { String::new() } else { format!(" --variant {}", image.variant) };
        let (host, distribution, release, arch) = (site.host(), &image.distribution, &image.release, &image.arch);
        let line = format!(
            "lxc-create -t download -n NAME -- --server {host} -d {distribution} -r {release} -a {arch}{variant}"
        );
        commands.push(CommandLine { program: "LXC", line });
    }
    commands
}

fn files(record: &BuildRecord) -> Vec<FileRow> {
    let row = |(file, digest): (&BuildFile, &formats::digest::FileDigest)| FileRow {
        name: file.name(),
        path: layout::build_file(&record.image, &record.serial, file.name()),
        size: human::bytes(digest.size_bytes),
        sha256: digest.sha256.to_string(),
    };
    record.files.iter().map(row).collect()
}

/// The value of a field of a query, without escapes; what is no text is nothing.
fn parameter(query: Option<&str>, name: &str) -> String {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace('+', " ")).next();
    let value = value.and_then(|value| super::route::decode(&value).ok()).unwrap_or_default();
    value.chars().filter(|c| !c.is_control()).take(LONGEST_QUERY).collect::<String>().trim().to_owned()
}

/// Adds what keeps a browser from running or loading anything.
fn secured(mut response: Response<Body>) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.into_response()
}

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
const STYLE: &str = include_str!("../../templates/style.css");
const LONGEST_HOST: usize = 255;
const LONGEST_QUERY: usize = 100;

/// Rows of the list; a search finds the others.
const MOST_LISTED: usize = 500;

/// Pages kept of one generation.
const MOST_KEPT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site { url: "https://images.example.org:8443".to_owned(), fingerprint: "A".repeat(40) }
    }

    #[test]
    fn commands_name_the_variant_only_when_it_is_needed_and_fit_the_files() {
        let lines = |image: testkit::FakeImage| {
            commands(&site(), &image.record()).into_iter().map(|one| one.line).collect::<Vec<_>>().join("\n")
        };
        let default = lines(testkit::FakeImage::new("debian/trixie/amd64/default"));
        assert!(default.contains("--server images.example.org:8443 -d debian -r trixie -a amd64"), "{default}");
        assert!(!default.contains("--variant") && !default.contains("incus"), "{default}");
        let cloud = lines(testkit::FakeImage::new("debian/trixie/amd64/cloud").incus());
        assert!(cloud.contains("--variant cloud") && cloud.contains("incus launch cellar:debian/trixie/cloud"));
    }

    #[test]
    fn a_host_that_is_no_name_is_not_repeated() {
        let reached = |host: &str| {
            let request = axum::http::Request::builder().header(header::HOST, host).body(()).unwrap();
            site().as_reached_by(&request.into_parts().0).url
        };
        assert_eq!(reached("mirror.example.net"), "https://mirror.example.net");
        assert_eq!(reached("[::1]:8443"), "https://[::1]:8443");
        for host in ["x;rm -rf ~", "<b>", "", "a$(b)"] {
            assert_eq!(reached(host), site().url, "{host}");
        }
    }

    #[test]
    fn a_query_is_decoded_and_cut() {
        assert_eq!(parameter(Some("x=1&q=debian+amd%36%34"), "q"), "debian amd64");
        assert_eq!(parameter(Some("q=%ff"), "q"), "");
        assert_eq!(parameter(Some(&format!("q={}", "a".repeat(1000))), "q").len(), LONGEST_QUERY);
        assert_eq!(parameter(None, "q"), "");
    }
}
