//! Choosing the newest of several names.

/// The newest of the names that begin with `prefix`, end with `suffix`, and have something acceptable between: that.
pub(super) fn newest(names: &[String], prefix: &str, suffix: &str, accept: impl Fn(&str) -> bool) -> Option<String> {
    newest_first(names, prefix, suffix, accept).into_iter().next()
}

/// All of them, the newest first: numbers are compared as numbers, `3.9` before `3.20`.
pub(super) fn newest_first(names: &[String], prefix: &str, suffix: &str, accept: impl Fn(&str) -> bool) -> Vec<String> {
    let between = names.iter().filter_map(|name| name.strip_prefix(prefix)?.strip_suffix(suffix));
    let mut found: Vec<&str> = between.filter(|middle| accept(middle)).collect();
    found.sort_by_key(|middle| std::cmp::Reverse(numbers(middle)));
    found.into_iter().map(str::to_owned).collect()
}

fn numbers(text: &str) -> Vec<u64> {
    let parts = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    parts.map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_the_one_with_the_highest_number_wherever_it_stands() {
        let names = ["a-3.9.tar", "a-3.20.tar", "a-3.20.tar.asc", "b-9.tar", "a-3.19.1.tar"].map(str::to_owned);
        assert_eq!(newest(&names, "a-", ".tar", |_| true).as_deref(), Some("3.20"));
        assert_eq!(newest(&names, "a-", ".tar", |version| version.starts_with("3.19")).as_deref(), Some("3.19.1"));
        assert_eq!(newest(&names, "c-", ".tar", |_| true), None);
    }

    #[test]
    fn a_name_shorter_than_its_ends_and_a_number_without_end_are_survived() {
        let names = ["ab", &format!("ab{}b", "9".repeat(40))].map(str::to_owned);
        assert_eq!(newest(&names, "ab", "b", |_| true), Some("9".repeat(40)));
    }
}
