//! What a container uses of the machine, as its cgroups count it.

use std::path::PathBuf;

use serde::Serialize;

use super::Cgroup;

/// What a container uses. `None` is what no cgroup of its own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Memory in bytes, with the caches of files it has read.
    pub memory_bytes: Option<u64>,
    /// Time on processors since its start, in microseconds.
    pub cpu_microseconds: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

impl Cgroup {
    /// What the container uses now.
    pub(crate) fn usage(&self) -> Usage {
        let nanoseconds = number(self.v1("cpuacct").as_ref(), "cpuacct.usage");
        let v2 = self.hierarchies.unified().map(|unified| unified.base.join(&self.path));
        Usage {
            memory_bytes: number(self.v1("memory").as_ref(), "memory.usage_in_bytes")
                .or_else(|| number(v2.as_ref(), "memory.current")),
            cpu_microseconds: nanoseconds.map(|count| count / 1000).or_else(|| {
                let stat = std::fs::read_to_string(v2.as_ref()?.join("cpu.stat")).ok()?;
                field(&stat, "usage_usec")
            }),
            processes: number(self.v1("pids").as_ref(), "pids.current").or_else(|| number(v2.as_ref(), "pids.current")),
        }
    }

    fn v1(&self, controller: &str) -> Option<PathBuf> {
        self.hierarchies.controller(controller).map(|hierarchy| hierarchy.base.join(&self.path))
    }
}

fn number(directory: Option<&PathBuf>, file: &str) -> Option<u64> {
    std::fs::read_to_string(directory?.join(file)).ok()?.trim().parse().ok()
}

fn field(stat: &str, name: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name() {
        assert_eq!(field("usage_usec 77\nuser_usec 7\n", "usage_usec"), Some(77));
        assert_eq!(field("user_usec 7\n", "usage_usec"), None);
    }
}
