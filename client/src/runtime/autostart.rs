//! What starts with the machine, and in which order: `lxc.start.*` and `lxc.group`.

use serde::Serialize;

use super::config::Item;

/// What a container's configuration says of its start with the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Autostart {
    /// `lxc.start.auto`: whether it starts at all.
    pub is_wanted: bool,
    /// `lxc.start.order`: the container with the higher number starts first.
    pub order: i64,
    /// `lxc.start.delay`: how many seconds to wait after its start before the next one's.
    pub delay_seconds: u64,
    /// `lxc.group`: the groups it is in.
    pub groups: Vec<String>,
}

impl Autostart {
    /// Numbers that are none count as 0, as in liblxc.
    pub(crate) fn new(items: &[Item]) -> Self {
        let mut autostart = Self::default();
        for item in items {
            match item.key.as_str() {
                "lxc.start.auto" => {
                    autostart.is_wanted = item.value.trim().parse::<u64>().is_ok_and(|value| value != 0);
                }
                "lxc.start.order" => autostart.order = item.value.trim().parse().unwrap_or(0),
                "lxc.start.delay" => autostart.delay_seconds = item.value.trim().parse().unwrap_or(0),
                "lxc.group" if item.value.is_empty() => autostart.groups.clear(),
                "lxc.group" => autostart.groups.extend(item.value.split_whitespace().map(str::to_owned)),
                _ => {}
            }
        }
        autostart
    }
}

/// Which containers are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The groups, one after the other; an empty name stands for the containers in no group. None at all means these,
    /// too.
    pub groups: Vec<String>,
    /// Containers of whatever groups.
    pub ignores_groups: bool,
    /// Also containers that do not start with the machine.
    pub ignores_auto: bool,
}

/// The chosen ones, each once, in the order of their start: group by group, in a group by falling order, then by name.
pub fn chosen<T>(mut all: Vec<T>, choice: &Choice, of: impl Fn(&T) -> (&str, &Autostart)) -> Vec<T> {
    all.retain(|one| choice.ignores_auto || of(one).1.is_wanted);
    all.sort_by(|one, other| {
        let ((name, one), (other_name, other)) = (of(one), of(other));
        other.order.cmp(&one.order).then_with(|| name.cmp(other_name))
    });
    if choice.ignores_groups {
        return all;
    }
    let none = [String::new()];
    let groups = if choice.groups.is_empty() { &none[..] } else { &choice.groups };
    let mut chosen = Vec::new();
    for group in groups {
        let is_in = |one: &T| {
            let own = &of(one).1.groups;
            if group.is_empty() { own.is_empty() } else { own.contains(group) }
        };
        let (of_group, rest) = all.into_iter().partition::<Vec<T>, _>(is_in);
        chosen.extend(of_group);
        all = rest;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autostart(text: &str) -> Autostart {
        let config = formats::lxc_config::LxcConfig::parse(text);
        let item = |(key, value): (&str, &str)| Item { key: key.to_owned(), value: value.to_owned(), file: "c".into() };
        Autostart::new(&config.items().map(item).collect::<Vec<_>>())
    }

    fn names(choice: &Choice) -> Vec<&'static str> {
        let all = vec![
            ("b", autostart("lxc.start.auto = 1\n")),
            ("a", autostart("lxc.start.auto = 1\n")),
            ("first", autostart("lxc.start.auto = 1\nlxc.start.order = 9\n")),
            ("manual", autostart("lxc.start.order = 10\n")),
            ("boot", autostart("lxc.start.auto = 1\nlxc.group = onboot db\n")),
            ("data", autostart("lxc.start.auto = 1\nlxc.group = db\nlxc.start.order = 3\n")),
        ];
        chosen(all, choice, |one| (one.0, &one.1)).iter().map(|one| one.0).collect()
    }

    #[test]
    fn without_groups_those_in_no_group_start_by_falling_order() {
        assert_eq!(names(&Choice::default()), ["first", "a", "b"]);
    }

    #[test]
    fn groups_start_one_after_the_other_and_each_container_once() {
        let groups =
            |names: &[&str]| Choice { groups: names.iter().map(ToString::to_string).collect(), ..Choice::default() };
        assert_eq!(names(&groups(&["onboot", ""])), ["boot", "first", "a", "b"]);
        assert_eq!(names(&groups(&["db", "onboot"])), ["data", "boot"]);
    }

    #[test]
    fn groups_and_the_wish_to_start_can_be_ignored() {
        let all = Choice { ignores_groups: true, ..Choice::default() };
        assert_eq!(names(&all), ["first", "data", "a", "b", "boot"]);
        assert_eq!(names(&Choice { ignores_auto: true, ..all })[0], "manual");
    }

    #[test]
    fn groups_add_up_until_an_empty_value() {
        assert_eq!(autostart("lxc.group = a b\nlxc.group = c\n").groups, ["a", "b", "c"]);
        assert_eq!(autostart("lxc.group = a\nlxc.group =\n").groups, [] as [&str; 0]);
        assert_eq!(autostart("lxc.start.delay = soon\n").delay_seconds, 0);
    }
}
