//! Changing one table of a TOML text without touching the rest.

use formats::name::Name;

/// The text with the table of this remote replaced or added at the end.
pub(super) fn put(text: &str, name: &Name, block: &str) -> String {
    let mut kept = take(text, name);
    if !kept.is_empty() && !kept.ends_with('\n') {
        kept.push('\n');
    }
    let gap = if kept.is_empty() || kept.ends_with("\n\n") { "" } else { "\n" };
    format!("{kept}{gap}[{}]\n{block}", table(name))
}

/// The text without the table of this remote: from its header to the line before the next one.
pub(super) fn take(text: &str, name: &Name) -> String {
    let headers = [format!("[{}]", table(name)), format!("[remotes.\"{name}\"]")];
    let mut inside = false;
    text.split_inclusive('\n')
        .filter(|line| {
            let line = line.trim();
            if line.starts_with('[') {
                inside = headers.iter().any(|header| line.starts_with(header));
            }
            !inside
        })
        .collect()
}

/// A bare key may hold letters, digits, `_` and `-`; a name may also hold `.` and `+`, so those are quoted.
fn table(name: &Name) -> String {
    if name.as_str().contains(['.', '+']) { format!("remotes.\"{name}\"") } else { format!("remotes.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_added_replaced_and_taken_out() {
        let (home, work): (Name, Name) = ("home".parse().unwrap(), "wo.rk".parse().unwrap());
        let one = put("", &home, "a = 1\n");
        assert_eq!(one, "[remotes.home]\na = 1\n");
        let two = put(&one, &work, "a = 2\n");
        assert_eq!(two, "[remotes.home]\na = 1\n\n[remotes.\"wo.rk\"]\na = 2\n");
        assert_eq!(take(&two, &home), "[remotes.\"wo.rk\"]\na = 2\n");
        assert_eq!(take(&two, &work), "[remotes.home]\na = 1\n\n");
    }
}
