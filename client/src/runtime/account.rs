//! Users of a container, as its own `/etc/passwd` and `/etc/group` name them.

use std::io::{self, Read};

use rustix::fs::{FileType, Mode, OFlags};

/// Whom a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// The account of this name or number. Only for a process that is in the container: the files are the container's word.
/// A number without an account is a user with a group of the same number.
pub(crate) fn find(wanted: &str) -> io::Result<Account> {
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    parse(&passwd, &group, wanted).ok_or_else(|| io::Error::other(format!("the container has no user `{wanted}`")))
}

fn parse(passwd: &str, group: &str, wanted: &str) -> Option<Account> {
    let number = wanted.parse::<u32>().ok();
    let accounts = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some((name, uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?, home))
    });
    let find = |(name, uid, ..): &(&str, u32, u32, &str)| *name == wanted || Some(*uid) == number;
    let Some((name, uid, gid, home)) = accounts.into_iter().find(find) else {
        let uid = number?;
        return Some(Account { uid, gid: uid, groups: Vec::new(), home: "/".to_owned() });
    };
    let groups = group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields[..] else { return None };
        members.split(',').any(|member| member == name).then(|| gid.parse().ok())?
    });
    Some(Account { uid, gid, groups: groups.collect(), home: home.to_owned() })
}

/// The container may have put anything at the path: only a file of a sane size counts.
fn read(path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(String::new()),
        file => file?,
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other(format!("`{path}` of the container is no file")));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const MAX_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\nbroken\n";
    const GROUP: &str = "audio:x:29:bob,ada\nvideo:x:44:bob\nada:x:1001:\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number_with_its_groups() {
        let ada = Account { uid: 1000, gid: 1001, groups: vec![29], home: "/home/ada".to_owned() };
        assert_eq!(parse(PASSWD, GROUP, "ada"), Some(ada.clone()));
        assert_eq!(parse(PASSWD, GROUP, "1000"), Some(ada));
    }

    #[test]
    fn a_number_needs_no_account_and_a_name_does() {
        let stranger = Account { uid: 7, gid: 7, groups: Vec::new(), home: "/".to_owned() };
        assert_eq!(parse(PASSWD, GROUP, "7"), Some(stranger));
        assert_eq!(parse(PASSWD, GROUP, "eve"), None);
        assert_eq!(parse(PASSWD, GROUP, "-1"), None);
    }
}
