//! Control files: fields of one package or of many (deb-control(5)).

/// The fields of one package, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of a field, whatever case its name is in. Lines after the first keep their leading blank; blanks at the
    /// end, which some descriptions have and dpkg keeps, are left out.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_end())
    }

    /// The text with one more field, put first after the package's name as dpkg has it.
    pub(super) fn with_status(&self, status: &str) -> String {
        let mut text = String::new();
        for (index, (name, value)) in self.fields.iter().enumerate() {
            push(&mut text, name, value);
            if index == 0 {
                push(&mut text, "Status", status);
            }
        }
        text
    }

    /// The names in a field of relations, with all alternatives: `a | b:any (>= 2), c [amd64]` is `a`, `b`, `c`.
    pub(super) fn related<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a str> {
        let relations = self.get(field).unwrap_or_default().split([',', '|']);
        let names = relations.map(|relation| relation.trim_start().split([' ', '\t', '\n', '(', ':', '[']).next());
        names.flatten().filter(|name| !name.is_empty())
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push(':');
    if !value.is_empty() && !value.starts_with('\n') {
        text.push(' ');
    }
    text.push_str(value);
    text.push('\n');
}

/// The stanzas of a text. They are separated by empty lines.
pub(super) fn parse(text: &str) -> Result<Vec<Stanza>, ControlError> {
    let mut stanzas = Vec::new();
    let mut current = Stanza::default();
    for line in text.lines() {
        if line.trim_end().is_empty() {
            if !current.fields.is_empty() {
                stanzas.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            let (_, value) = current.fields.last_mut().ok_or_else(|| ControlError::new(line))?;
            value.push('\n');
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':').ok_or_else(|| ControlError::new(line))?;
            let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !named || current.get(name).is_some() {
                return Err(ControlError::new(line));
            }
            current.fields.push((name.to_owned(), value.trim_start().to_owned()));
        }
    }
    if !current.fields.is_empty() {
        stanzas.push(current);
    }
    Ok(stanzas)
}

/// A line that is no field, or a field that is there twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{line}` is no line of a control file")]
pub(super) struct ControlError {
    line: String,
}

impl ControlError {
    fn new(line: &str) -> Self {
        Self { line: line.chars().take(80).flat_map(char::escape_debug).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Package: dash\nPre-Depends: libc6 (>= 2.36), dpkg:any | cdebconf [amd64]\nDescription: shell\n \
                        The shell.\n .\n Small.\n\nPackage: bash\nConffiles:\n /etc/bash.bashrc 1\n";

    #[test]
    fn fields_continuations_and_stanzas_are_told_apart() {
        let stanzas = parse(TEXT).unwrap();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].get("description"), Some("shell\n The shell.\n .\n Small."));
        assert_eq!(stanzas[1].get("Conffiles"), Some("\n /etc/bash.bashrc 1"));
        assert_eq!(stanzas[0].get("Depends"), None);
    }

    #[test]
    fn relations_are_reduced_to_names() {
        let stanzas = parse(TEXT).unwrap();
        assert_eq!(stanzas[0].related("Pre-Depends").collect::<Vec<_>>(), ["libc6", "dpkg", "cdebconf"]);
        assert_eq!(stanzas[0].related("Depends").count(), 0);
    }

    #[test]
    fn the_status_comes_after_the_name() {
        let text = parse(TEXT).unwrap()[1].with_status("install ok unpacked");
        assert_eq!(text, "Package: bash\nStatus: install ok unpacked\nConffiles:\n /etc/bash.bashrc 1\n");
    }

    #[test]
    fn a_blank_at_the_end_is_kept_and_not_in_the_way() {
        let stanza = parse("Package: x\nVersion: 1 \nDescription: short \n long\n").unwrap().remove(0);
        assert_eq!(stanza.get("Version"), Some("1"));
        assert!(stanza.with_status("s").contains("Description: short \n long\n"));
    }

    #[test]
    fn lines_that_are_no_fields_are_refused() {
        for text in [" continued\n", "Package\n", ": x\n", "A: 1\na: 2\n", "A B: 1\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_rendered_parses_to_the_same(values in prop::collection::vec("[!-~]{1,9}(\n [!-~]{1,9}){0,2}", 1..5)) {
            let fields = values.iter().enumerate().map(|(index, value)| (format!("F{index}"), value.clone()));
            let stanza = Stanza { fields: fields.collect() };
            let mut back = parse(&stanza.with_status("s")).unwrap().remove(0);
            back.fields.remove(1);
            prop_assert_eq!(back, stanza);
        }
    }
}
