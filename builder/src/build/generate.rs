//! Writing the files of a spec.
//!
//! One tree serves LXC, Incus and LXD. What only LXC wants in it, such as `LXC_NAME` as the host name, is therefore
//! written last, after the squashfs for the others was made.

use std::collections::BTreeMap;
use std::io;

use formats::metadata::incus::IncusTemplate;

use super::tree::Tree;
use crate::plan::files::{FileKind, FileStep, IncusFile, Ownership, Seed};

/// What Incus writes into instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IncusTemplates {
    /// By the path of the file that is written.
    pub(crate) entries: BTreeMap<String, IncusTemplate>,
    /// The texts, by their name below `templates/`.
    pub(crate) texts: BTreeMap<String, String>,
}

/// Writes what every target wants.
pub(crate) fn common(tree: &Tree, step: &FileStep) -> io::Result<()> {
    match &step.kind {
        FileKind::Dump { content, .. } => tree.write(&step.path, content.as_bytes(), step.owner),
        FileKind::Copy { source } => {
            let into_directory = step.path.ends_with('/') && !source.is_dir();
            let name = source.file_name().map(|name| name.display().to_string()).unwrap_or_default();
            let path = if into_directory { format!("{}{name}", step.path) } else { step.path.clone() };
            tree.copy(source, &path, step.owner)
        }
        FileKind::Remove => tree.remove(&step.path),
        FileKind::Hostname | FileKind::Hosts | FileKind::Template(_) | FileKind::CloudInit { .. } => Ok(()),
    }
}

/// What Incus does for the entries, given the tree they apply to.
pub(crate) fn incus(tree: &Tree, steps: &[FileStep]) -> io::Result<IncusTemplates> {
    let mut templates = IncusTemplates::default();
    for step in steps {
        let plain = |name: &str, content| IncusFile { name: name.to_owned(), content };
        let mut properties = step.properties.clone();
        let file = match &step.kind {
            FileKind::Hostname if tree.has(&step.path)? => plain("hostname", "{{ container.name }}\n".to_owned()),
            FileKind::Hosts => match tree.read(&step.path)? {
                Some(hosts) => plain("hosts", named_hosts(&hosts, "{{ container.name }}")),
                None => continue,
            },
            FileKind::Template(file) => file.clone(),
            FileKind::CloudInit { seed, content } => {
                if properties.is_empty() {
                    properties = seed_default(*seed, content);
                }
                plain(&format!("cloud-init-{}", seed.name()), seed_text(*seed, content))
            }
            FileKind::Hostname | FileKind::Dump { .. } | FileKind::Copy { .. } | FileKind::Remove => continue,
        };
        let template = format!("{}.tpl", file.name);
        let when = step.when.clone();
        let entry = IncusTemplate { when, create_only: false, template: template.clone(), properties };
        templates.entries.insert(step.path.clone(), entry);
        templates.texts.insert(template, file.content);
    }
    Ok(templates)
}

/// Writes what only LXC wants, and returns the files in which LXC replaces names.
pub(crate) fn lxc(tree: &Tree, steps: &[FileStep]) -> io::Result<Vec<String>> {
    let mut substituted = Vec::new();
    for step in steps {
        match &step.kind {
            FileKind::Hostname if tree.has(&step.path)? => {
                tree.write(&step.path, b"LXC_NAME\n", Ownership::default())?;
                substituted.push(step.path.clone());
            }
            FileKind::Hosts => {
                if let Some(hosts) = tree.read(&step.path)? {
                    tree.write(&step.path, named_hosts(&hosts, "LXC_NAME").as_bytes(), Ownership::default())?;
                    substituted.push(step.path.clone());
                }
            }
            FileKind::Dump { templated: true, .. } => substituted.push(step.path.clone()),
            FileKind::CloudInit { .. } => {
                for level in ["boot", "default"] {
                    for service in ["cloud-init-local", "cloud-init", "cloud-config", "cloud-final"] {
                        tree.remove(&format!("/etc/runlevels/{level}/{service}"))?;
                    }
                }
                tree.write("/etc/cloud/cloud-init.disabled", b"", Ownership::default())?;
            }
            FileKind::Hostname
            | FileKind::Dump { .. }
            | FileKind::Copy { .. }
            | FileKind::Remove
            | FileKind::Template(_) => {}
        }
    }
    Ok(substituted)
}

/// `/etc/hosts` with the container's name: in place of the builder's word for it, or on a line of its own.
fn named_hosts(hosts: &[u8], name: &str) -> String {
    let hosts = String::from_utf8_lossy(hosts);
    if hosts.contains(PLACEHOLDER) { hosts.replace(PLACEHOLDER, name) } else { format!("127.0.1.1\t{name}\n{hosts}") }
}

/// A document of cloud-init with Incus's own tags, as distrobuilder words it: what the user configured by the new key or
/// the old one, or else the spec's default, which for the network is in the text itself.
fn seed_text(seed: Seed, content: &str) -> String {
    let name = seed.name();
    match seed {
        Seed::UserData | Seed::VendorData => format!(
            "{{%- if config_get(\"cloud-init.{name}\", properties.default) == properties.default -%}}\n\
             {{{{ config_get(\"user.{name}\", properties.default) }}}}\n\
             {{%- else -%}}\n\
             {{{{- config_get(\"cloud-init.{name}\", properties.default) }}}}\n\
             {{%- endif %}}\n"
        ),
        Seed::MetaData => "instance-id: {{ container.name }}\nlocal-hostname: {{ container.name }}\n\
                           {{ config_get(\"user.meta-data\", \"\") }}\n"
            .to_owned(),
        Seed::NetworkConfig => {
            let default = if content.is_empty() { NETWORK_DEFAULT } else { content };
            format!(
                "{{%- if config_get(\"cloud-init.network-config\", \"\") == \"\" -%}}\n\
                 {{%- if config_get(\"user.network-config\", \"\") == \"\" -%}}\n\
                 {default}\n\
                 {{%- else -%}}\n\
                 {{{{- config_get(\"user.network-config\", \"\") -}}}}\n\
                 {{%- endif -%}}\n\
                 {{%- else -%}}\n\
                 {{{{- config_get(\"cloud-init.network-config\", \"\") -}}}}\n\
                 {{%- endif %}}\n"
            )
        }
    }
}

/// What the template of a document falls back on.
fn seed_default(seed: Seed, content: &str) -> BTreeMap<String, String> {
    let default = match (seed, content) {
        (Seed::NetworkConfig, _) | (Seed::MetaData, "") => return BTreeMap::new(),
        (Seed::UserData | Seed::VendorData, "") => "#cloud-config\n{}",
        (_, given) => given,
    };
    BTreeMap::from([("default".to_owned(), default.to_owned())])
}

/// The name that distrobuilder gives its build environment, and that distributions write into `/etc/hosts`.
const PLACEHOLDER: &str = "distrobuilder";

const NETWORK_DEFAULT: &str = "version: 1\nconfig:\n  - type: physical\n    name: {% if instance.type == \
                               \"virtual-machine\" %}enp5s0{% else %}eth0{% endif %}\n    subnets:\n      - type: dhcp\n        \
                               control: auto";

#[cfg(test)]
mod tests {
    use super::*;

    fn step(path: &str, kind: FileKind) -> FileStep {
        let when = vec!["create".to_owned(), "copy".to_owned()];
        let (path, owner) = (path.into(), Ownership::default());
        FileStep { place: "files[0]".into(), path, kind, owner, when, properties: BTreeMap::new() }
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        tree.write("/etc/hostname", b"localhost\n", Ownership::default()).unwrap();
        tree.write("/etc/hosts", b"127.0.0.1 localhost\n", Ownership::default()).unwrap();
        (directory, tree)
    }

    #[test]
    fn lxc_gets_placeholders_and_incus_gets_templates_of_the_same_files() {
        let (_directory, tree) = tree();
        let steps = [
            step("/etc/hostname", FileKind::Hostname),
            step("/etc/hosts", FileKind::Hosts),
            step("/etc/missing", FileKind::Hostname),
            step("/etc/issue", FileKind::Dump { content: "LXC_NAME\n".into(), templated: true }),
        ];
        let incus = incus(&tree, &steps).unwrap();
        assert_eq!(incus.entries.keys().collect::<Vec<_>>(), ["/etc/hostname", "/etc/hosts"]);
        assert_eq!(incus.texts["hosts.tpl"], "127.0.1.1\t{{ container.name }}\n127.0.0.1 localhost\n");
        assert_eq!(tree.read("/etc/hostname").unwrap().unwrap(), b"localhost\n", "Incus's tree was changed");
        assert_eq!(lxc(&tree, &steps).unwrap(), ["/etc/hostname", "/etc/hosts", "/etc/issue"]);
        assert_eq!(tree.read("/etc/hostname").unwrap().unwrap(), b"LXC_NAME\n");
        assert_eq!(tree.read("/etc/hosts").unwrap().unwrap(), b"127.0.1.1\tLXC_NAME\n127.0.0.1 localhost\n");
    }

    #[test]
    fn the_builders_word_for_the_host_is_replaced_where_it_stands() {
        assert_eq!(named_hosts(b"127.0.1.1 distrobuilder\n", "LXC_NAME"), "127.0.1.1 LXC_NAME\n");
    }

    #[test]
    fn cloud_init_is_seeded_by_incus_and_off_in_lxc() {
        let (_directory, tree) = tree();
        let seed = |seed, content: &str| FileKind::CloudInit { seed, content: content.into() };
        let steps = [
            step("/seed/user-data", seed(Seed::UserData, "")),
            step("/seed/net", seed(Seed::NetworkConfig, "{% x %}")),
        ];
        let incus = incus(&tree, &steps).unwrap();
        assert_eq!(incus.entries["/seed/user-data"].properties["default"], "#cloud-config\n{}");
        assert!(incus.texts["cloud-init-user-data.tpl"].contains("cloud-init.user-data"));
        assert!(incus.texts["cloud-init-network-config.tpl"].contains("\n{% x %}\n"));
        assert!(!tree.has("/etc/cloud/cloud-init.disabled").unwrap());
        lxc(&tree, &steps).unwrap();
        assert!(tree.has("/etc/cloud/cloud-init.disabled").unwrap());
    }

    #[test]
    fn removing_and_copying_follow_the_spec() {
        let (directory, tree) = tree();
        common(&tree, &step("/etc/hosts", FileKind::Remove)).unwrap();
        assert!(!tree.has("/etc/hosts").unwrap());
        let source = directory.path().join("etc/hostname");
        common(&tree, &step("/opt/", FileKind::Copy { source })).unwrap();
        assert_eq!(tree.read("/opt/hostname").unwrap().unwrap(), b"localhost\n");
    }
}
