//! What a web server's page about a directory links to.

/// The names of files and directories that a page links to, in its order and without repetitions: the last part of every
/// `href`, without the slash that ends a directory. Names that are not of letters, digits and `.+_~:%@=-` are left out:
/// whatever is here can be put behind the address of the page.
pub fn names(page: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = page;
    while let Some(start) = find_href(rest) {
        rest = &rest[start..];
        let (value, after) = value(rest);
        rest = after;
        let path = value.split(['?', '#']).next().unwrap_or_default();
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if is_name(name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Where the value of the next `href` begins.
fn find_href(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = bytes.windows(HREF.len()).position(|window| window.eq_ignore_ascii_case(HREF))?;
    Some(at + HREF.len())
}

/// The value that a text begins with, quoted or not, and what follows.
fn value(text: &str) -> (&str, &str) {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].split_once(quote).unwrap_or(("", "")),
        _ => text.split_at(text.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(text.len())),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".+_~:%@=-".contains(c))
}

const HREF: &[u8] = b"href=";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pages_of_the_usual_servers_are_read() {
        for (page, expected) in [
            ("<a href=\"../\">../</a>\n<a href=\"a-1.tar.gz\">a-1.tar.gz</a> 24-Nov-2026", vec!["a-1.tar.gz"]),
            ("<A HREF='/pub/x/2026.11.01/'>2026.11.01</A><a href=b>", vec!["2026.11.01", "b"]),
            ("<a href=\"?C=N;O=D\">Name</a><a href=\"./c.sha256#top\">", vec!["c.sha256"]),
            ("<a href=\"d\">d</a><a href=\"https://other.example.org/d\">d</a>", vec!["d"]),
        ] {
            assert_eq!(names(page), expected, "{page}");
        }
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        assert_eq!(
            names("<a href=\"..\"><a href=\"a b\"><a href=\"x\\y\"><a href=\"\"><a href=\"/\"><a href=\""),
            [""; 0]
        );
    }

    proptest! {
        #[test]
        fn any_page_is_survived_and_its_names_are_names(page in "(href=|\"|'|>|/|é|.)*") {
            prop_assert!(names(&page).into_iter().all(is_name));
        }
    }
}
