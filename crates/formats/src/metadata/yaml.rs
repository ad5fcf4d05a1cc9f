//! YAML as the YAML library of Go programs writes it (`gopkg.in/yaml.v2`), byte for byte, as far as Incus metadata needs
//! it: the metadata of an image can then be compared with what others make of the same spec.

use std::collections::BTreeMap;

/// A value that is written.
pub(super) enum Node<'a> {
    Text(&'a str),
    Number(i64),
    Bool(bool),
    List(&'a [String]),
    Map(Vec<(&'a str, Node<'a>)>),
}

impl<'a> Node<'a> {
    pub(super) fn texts(map: &'a BTreeMap<String, String>) -> Self {
        Self::Map(map.iter().map(|(key, value)| (key.as_str(), Self::Text(value))).collect())
    }
}

/// The document that `root`, a map, is.
pub(super) fn document(root: &Node<'_>) -> String {
    let mut out = String::new();
    if let Node::Map(entries) = root {
        map(entries, 0, &mut out);
    }
    out
}

fn map(entries: &[(&str, Node<'_>)], indent: usize, out: &mut String) {
    for (key, value) in entries {
        out.push_str(&" ".repeat(indent));
        let column = out.len();
        scalar(key, indent, column, true, out);
        out.push(':');
        match value {
            Node::Text(text) => {
                out.push(' ');
                let column = out.len() - column + indent;
                scalar(text, indent + STEP, column, false, out);
            }
            Node::Number(number) => out.push_str(&format_number(*number)),
            Node::Bool(set) => out.push_str(if *set { " true" } else { " false" }),
            Node::List([]) => out.push_str(" []"),
            Node::List(list) => {
                // A list stands at the indentation of its key.
                for item in *list {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent));
                    out.push_str("- ");
                    scalar(item, indent + STEP, indent + STEP, false, out);
                }
            }
            Node::Map(inner) if inner.is_empty() => out.push_str(" {}"),
            Node::Map(inner) => {
                out.push('\n');
                map(inner, indent + STEP, out);
                continue;
            }
        }
        out.push('\n');
    }
}

fn format_number(number: i64) -> String {
    format!(" {number}")
}

/// Writes a text from `column` on; what follows on further lines is at `indent`.
fn scalar(text: &str, indent: usize, column: usize, is_key: bool, out: &mut String) {
    let style = style(text);
    match style {
        Style::Literal if !is_key => literal(text, indent, out),
        Style::Plain => folded(text, indent, column, is_key, out),
        Style::Single => {
            out.push('\'');
            folded(&text.replace('\'', "''"), indent, column + 1, is_key, out);
            out.push('\'');
        }
        Style::Literal | Style::Double => double(text, indent, column, is_key, out),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The style the library chooses: one in which the text stays a text (its `encode.go`), and that can hold it (its
/// `emitterc.go`, `yaml_emitter_analyze_scalar`).
fn style(text: &str) -> Style {
    let special = text.chars().any(|c| c != '\n' && !is_printable(c));
    let space_break = text.contains(" \n");
    if special || space_break {
        return Style::Double;
    }
    if text.contains('\n') {
        return if text.ends_with(' ') { Style::Double } else { Style::Literal };
    }
    if is_something_else(text) {
        return Style::Double;
    }
    if text.is_empty() || text.starts_with(' ') || text.ends_with(' ') || has_indicator(text) {
        return Style::Single;
    }
    Style::Plain
}

/// What may stand in a text without an escape. A tab may not.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Whether a plain text would mean something to YAML.
fn has_indicator(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let characters: Vec<char> = text.chars().collect();
    characters.iter().enumerate().any(|(index, c)| {
        let before = index.checked_sub(1).and_then(|before| characters.get(before));
        let is_followed_by_space = characters.get(index + 1).is_none_or(|next| *next == ' ');
        match c {
            '#' => before.is_none_or(|before| *before == ' '),
            ':' => is_followed_by_space,
            '-' | '?' => index == 0 && is_followed_by_space,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => index == 0,
            _ => false,
        }
    })
}

/// Whether a plain text would be read as something else than a text (its `resolve.go`).
fn is_something_else(text: &str) -> bool {
    const WORDS: [&str; 41] = [
        "", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO",
        "false", "False", "FALSE", "off", "Off", "OFF", "~", "null", "Null", "NULL", ".nan", ".NaN", ".NAN", ".inf",
        ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", "<<", "=",
    ];
    let looks_like_a_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    // The last of the words is a text to it.
    WORDS[..WORDS.len() - 1].contains(&text)
        || (looks_like_a_number && (is_day(text) || is_integer(text) || is_float(text) || is_sexagesimal(text)))
}

/// `2026-11-25`, with or without a time after it.
fn is_day(text: &str) -> bool {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    let is_number = |part: &&str| (1..=4).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
    parts.len() == 3 && parts[0].len() == 4 && parts[1].len() <= 2 && parts[2].len() <= 2 && parts.iter().all(is_number)
}

fn is_integer(text: &str) -> bool {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let in_base = |base: u32, digits: &str| !digits.is_empty() && u64::from_str_radix(digits, base).is_ok();
    let prefixed = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)];
    let known = prefixed.iter().find_map(|(prefix, base)| Some((digits.strip_prefix(prefix)?, *base)));
    match known {
        Some((digits, base)) => !digits.starts_with('+') && in_base(base, digits),
        None if digits.len() > 1 && digits.starts_with('0') => in_base(8, digits),
        None => !digits.starts_with('+') && in_base(10, digits),
    }
}

/// `[-+]?[0-9]*\.?[0-9]+([eE][-+][0-9]+)?`, without underscores.
fn is_float(text: &str) -> bool {
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let all_digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        exponent.strip_prefix(['+', '-']).is_some_and(|digits| !digits.is_empty() && all_digits(digits))
    });
    let (whole, fraction) = number.split_once('.').unwrap_or(("", number));
    exponent_fits && all_digits(whole) && !fraction.is_empty() && all_digits(fraction)
}

/// `12:30:45`, a number of base 60.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut parts = number.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_digits = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let is_sixtieth = |part: &&str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    first.starts_with(|c: char| c.is_ascii_digit())
        && is_digits(first)
        && !rest.is_empty()
        && rest.iter().all(is_sixtieth)
        && is_digits(fraction)
}

/// A block of lines as they are.
fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push_str(&STEP.to_string());
    }
    match text.strip_suffix('\n') {
        None => out.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
}

/// A line that goes on below at the first single blank after the best width.
fn folded(text: &str, indent: usize, mut column: usize, is_key: bool, out: &mut String) {
    let characters: Vec<char> = text.chars().collect();
    let mut after_blank = false;
    for (index, c) in characters.iter().enumerate() {
        let next_is_blank = characters.get(index + 1).is_none_or(|next| *next == ' ');
        let is_inside = index > 0 && index + 1 < characters.len();
        if *c == ' ' && !is_key && !after_blank && is_inside && column > BEST_WIDTH && !next_is_blank {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(*c);
            column += 1;
        }
        after_blank = *c == ' ';
    }
}

/// A text with escapes.
fn double(text: &str, indent: usize, mut column: usize, is_key: bool, out: &mut String) {
    out.push('"');
    column += 1;
    let characters: Vec<char> = text.chars().collect();
    let mut after_blank = false;
    for (index, c) in characters.iter().enumerate() {
        let escaped = match c {
            '\0' => "\\0".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\u{1b}' => "\\e".to_owned(),
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{85}' => "\\N".to_owned(),
            c if is_printable(*c) => c.to_string(),
            c if u32::from(*c) <= 0xff => format!("\\x{:02X}", u32::from(*c)),
            c if u32::from(*c) <= 0xffff => format!("\\u{:04X}", u32::from(*c)),
            c => format!("\\U{:08X}", u32::from(*c)),
        };
        let is_inside = index > 0 && index + 1 < characters.len();
        if *c == ' ' && !is_key && !after_blank && is_inside && column > BEST_WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
            if characters.get(index + 1) == Some(&' ') {
                out.push('\\');
                column += 1;
            }
        } else {
            column += escaped.chars().count();
            out.push_str(&escaped);
        }
        after_blank = *c == ' ';
    }
    out.push('"');
}

const STEP: usize = 2;
const BEST_WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        let written = document(&Node::Map(vec![("k", Node::Text(text))]));
        written.strip_prefix("k: ").unwrap().trim_end_matches('\n').to_owned()
    }

    #[test]
    fn a_text_is_quoted_where_the_library_quotes_it() {
        for (text, expected) in [
            ("amd64", "amd64"),
            ("Debian 3.20 (cloud)", "Debian 3.20 (cloud)"),
            ("3.20", "\"3.20\""),
            ("20261123_0522", "\"20261123_0522\""),
            ("20261123_05:22", "\"20261123_05:22\""),
            ("12.04.1", "12.04.1"),
            ("1e3", "1e3"),
            ("2026-11-25", "\"2026-11-25\""),
            ("0x1f", "\"0x1f\""),
            ("yes", "\"yes\""),
            ("~", "\"~\""),
            ("", "\"\""),
            ("#cloud-config", "'#cloud-config'"),
            ("a #b", "'a #b'"),
            ("a: b", "'a: b'"),
            ("it's", "it's"),
            ("{{ x }}", "'{{ x }}'"),
            ("a\tb", "\"a\\tb\""),
            ("#cloud-config\n{}", "|-\n  #cloud-config\n  {}"),
            ("a\n\nb\n", "|\n  a\n\n  b"),
        ] {
            assert_eq!(of(text), expected, "{text:?}");
        }
        let long = "word ".repeat(20);
        assert_eq!(of(long.trim_end()).lines().count(), 2);
    }

    #[derive(serde::Deserialize)]
    struct Read {
        properties: BTreeMap<String, String>,
        x: bool,
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_as_the_same(
            key in "[a-z/.:# -]{1,20}|\\PC{1,9}", text in "[ -~\n]{0,200}|[0-9_:.eE+-]{0,9}|\\PC{0,20}", other in "[a-z]{2,9}",
        ) {
            let keys = BTreeMap::from([(key, text), ("z".repeat(30), other)]);
            let written = document(&Node::Map(vec![("properties", Node::texts(&keys)), ("x", Node::Bool(true))]));
            // As texts, like whoever reads metadata: plain `0e0` is one to the library, and a number to YAML 1.2.
            let read: Result<Read, _> = serde_saphyr::from_str(&written);
            let read = read.map_err(|error| TestCaseError::fail(format!("{error}: {written}")))?;
            prop_assert_eq!(&read.properties, &keys, "{}", written);
            prop_assert!(read.x);
        }
    }
}
