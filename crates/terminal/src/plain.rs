//! Foreign text made safe for a terminal.

use std::fmt::Write;

/// `text` from a server or an image, safe to show on a terminal.
///
/// A terminal obeys escape sequences: they retitle windows, hide lines, and on some terminals type input. Control
/// characters (C0, DEL, C1) and the marks that reorder or break lines invisibly (Trojan Source, CVE-2021-42574) are
/// shown as `\u{1b}`, so that an attempt is visible. Newline and tab are kept, `\r\n` becomes a newline.
pub fn plain(text: &str) -> String {
    if is_plain_line(text) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").chars() {
        if matches!(character, '\n' | '\t') || !is_unsafe(character) {
            safe.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        }
    }
    safe
}

/// Whether `text` is one line of characters that every terminal just shows, which nearly every text is.
pub(crate) fn is_plain_line(text: &str) -> bool {
    // Looking at each byte takes less time than stopping at one that is not.
    text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~'))
}

/// `text` as one line: as [`plain`], with newlines and tabs escaped too.
pub(crate) fn plain_line(text: &str) -> String {
    let text = plain(text);
    if text.contains(['\n', '\t']) { text.replace('\n', "\\n").replace('\t', "\\t") } else { text }
}

/// Whether a terminal may act on `character` instead of showing it.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_becomes_visible_and_harmless() {
        assert_eq!(plain("\x1b]0;owned\x07ok\x1b[2J"), "\\u{1b}]0;owned\\u{7}ok\\u{1b}[2J");
    }

    #[test]
    fn the_eight_bit_form_of_an_escape_sequence_is_caught_too() {
        assert_eq!(plain("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
    }

    #[test]
    fn a_carriage_return_cannot_overwrite_the_line() {
        assert_eq!(plain("refused\rdone   "), "refused\\u{d}done   ");
    }

    #[test]
    fn text_cannot_be_reordered() {
        assert_eq!(plain("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
    }

    #[test]
    fn newlines_tabs_and_every_script_are_kept() {
        assert_eq!(plain("Größe\t日本\r\nעברית\n"), "Größe\t日本\nעברית\n");
        assert_eq!(plain_line("a\tb\nc"), "a\\tb\\nc");
    }
}
