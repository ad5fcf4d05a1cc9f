//! People see in a browser what is published, without a script.

use std::path::Path;
use std::process::Command;

use testkit::FakeImage;

use crate::support::{Server, World, need, run};

/// Images of two distributions; one image has two builds with lists of packages, one of them hostile.
fn published() -> (World, Server) {
    let world = World::new();
    let trixie = FakeImage::new("debian/trixie/amd64/default").incus().alias("debian/13").end_of_life("2030-06-30");
    let packages = |packages: &[(&str, &str)]| {
        let list = packages
            .iter()
            .map(|(name, version)| serde_json::json!({"name": name, "version": version, "arch": "amd64"}));
        serde_json::Value::from(list.collect::<Vec<_>>()).to_string()
    };
    let old = packages(&[("bash", "5.2.37-1"), ("gone", "1.0"), ("zlib1g", "1.3")]);
    let new = packages(&[("bash", "5.2.37-2"), ("<script>alert(1)</script>", "6.6"), ("zlib1g", "1.3")]);
    world.import(&trixie.clone().serial("20261122_0522").packages(&old));
    world.import(&trixie.serial("20261123_0522").packages(&new));
    world.import(&FakeImage::new("debian/trixie/amd64/cloud").serial("20261123_0530"));
    world.import(&FakeImage::new("alpine/3.22/arm64/default").serial("20261120_0100"));
    world.run(&["publish"]).succeeds();
    let server = world.serve();
    (world, server)
}

#[test]
fn the_list_shows_every_image_and_a_search_the_ones_that_match() {
    let (world, server) = published();
    let list = server.get("/");
    assert_eq!((list.status, list.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let ids = ["debian/trixie/amd64/default", "debian/trixie/amd64/cloud", "alpine/3.22/arm64/default"];
    for id in ids {
        assert!(list.text().contains(&format!("<a href=\"/images/{id}\">{id}</a>")), "{id}");
    }
    assert!(list.text().contains(&world.fingerprint("repository")) && list.text().contains("until 20"));
    let found = |query: &str| ids.map(|id| server.get(&format!("/?q={query}")).text().contains(&format!(">{id}</a>")));
    assert_eq!(found("debian+CLOUD"), [false, true, false]);
    assert_eq!(found("debian/13"), [true, false, false]);
    assert_eq!(found("nothing"), [false, false, false]);
}

#[test]
fn the_page_of_an_image_shows_its_files_commands_packages_and_what_changed() {
    let (world, server) = published();
    let page = server.get_with("/images/debian/trixie/amd64/default", &[("X-Nothing", "1")]).text();
    let fingerprint = world.fingerprint("repository");
    for text in [
        "lxc-create -t download -n NAME -- --server x -d debian -r trixie -a amd64<",
        "incus launch cellar:debian/trixie NAME",
        &format!("rootcellar remote add default https://x --fingerprint {fingerprint}"),
        "Changed since 20261122_0522",
        "<b>bash</b> 5.2.37-1 → 5.2.37-2",
        "<b>gone</b> 1.0",
        "2030-06-30",
        "3 installed packages",
        "/images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz",
    ] {
        assert!(page.contains(text), "expected `{text}` in {page}");
    }
    let sums = server.get("/images/debian/trixie/amd64/default/20261123_0522/SHA256SUMS").text();
    for line in sums.lines() {
        assert!(page.contains(line.split(' ').next().unwrap()), "{line}");
    }
    let old = server.get("/images/debian/trixie/amd64/default?build=20261122_0522").text();
    assert!(old.contains("5.2.37-1") && !old.contains("Changed since"));
    for path in ["/images/debian/trixie/amd64/default?build=20200101_0000", "/images/debian/sid/amd64/default"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn whatever_others_wrote_is_text_and_no_page_can_run_anything() {
    let (_world, server) = published();
    for path in ["/?q=%3Cscript%3Ealert(1)%3C/script%3E%22%27", "/images/debian/trixie/amd64/default"] {
        let page = server.get_with(path, &[]);
        assert!(!page.text().contains("<script"), "{path}");
        assert!(page.text().contains("script"), "{path}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("script") && !policy.contains("unsafe"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    }
    let page =
        crate::support::request(server.address(), b"GET / HTTP/1.1\r\nHost: a\"b<c;d\r\nConnection: close\r\n\r\n");
    assert!(!page.text().contains("a\"b<c") && !page.text().contains("https://a"), "{}", page.text());
}

#[test]
fn pages_are_sent_again_only_when_they_changed() {
    let (_world, server) = published();
    for path in ["/", "/style.css", "/images/debian/trixie/amd64/cloud"] {
        let first = server.get(path);
        let etag = first.header("etag").unwrap().to_owned();
        assert_eq!(server.get_with(path, &[("If-None-Match", &etag)]).status, 304, "{path}");
    }
}

#[test]
fn chromium_shows_the_list_a_search_and_an_image() {
    need!("chromium");
    let (world, server) = published();
    let browse = |path: &str, args: &[&str]| {
        let profile = world.path("profile");
        let mut command = Command::new("timeout");
        command.args(["60", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
        command.args(["--ignore-certificate-errors", "--hide-scrollbars", "--force-device-scale-factor=1"]);
        command.arg(format!("--user-data-dir={}", profile.display())).args(args);
        run(command.arg(format!("{}{path}", server.url))).succeeds().stdout
    };
    let list = browse("/", &["--dump-dom"]);
    assert!(list.contains("3 images") && list.contains("alpine/3.22/arm64/default"), "{list}");
    let search = browse("/?q=cloud", &["--dump-dom"]);
    assert!(search.contains("1 image ") && !search.contains("alpine/3.22"), "{search}");
    let image = browse("/images/debian/trixie/amd64/default", &["--dump-dom"]);
    assert!(image.contains("Changed since 20261122_0522") && image.contains("&lt;script&gt;"), "{image}");
    let picture = world.path("list.png");
    browse("/", &[&format!("--screenshot={}", picture.display()), "--window-size=390,844"]);
    assert!(is_painted(&picture), "the page is one colour");
    if let Some(kept) = std::env::var_os("ROOTCELLAR_SCREENSHOTS") {
        let pages = [("list", "/"), ("image", "/images/debian/trixie/amd64/default")];
        for ((name, path), (size, width)) in
            pages.into_iter().flat_map(|page| [("1200,900", "desktop"), ("390,844", "phone")].map(|size| (page, size)))
        {
            let to = Path::new(&kept).join(format!("{name}-{width}.png"));
            browse(path, &[&format!("--screenshot={}", to.display()), &format!("--window-size={size}")]);
        }
    }
}

/// A picture of one colour compresses to next to nothing; the style sheet and the text make it larger.
fn is_painted(picture: &Path) -> bool {
    std::fs::metadata(picture).unwrap().len() > 8000
}
