//! A spec, and ways to break it or to spell it otherwise.

/// What the mutations start from.
pub(super) const SPEC: &str = "\
image:
  distribution: debian
  release: bookworm
  architecture: x86_64
source:
  downloader: debootstrap
  url: http://mirror.example.org/debian
targets:
  lxc:
    create_message: hello
    config:
    - type: all
      before: 5
      content: lxc.arch = x86_64
files:
- generator: hostname
  path: /etc/hostname
- generator: dump
  path: /etc/motd
  mode: 0644
  content: hello
packages:
  manager: apt
  update: true
  sets:
  - action: install
    packages:
    - less
  repositories:
  - name: extra
    url: deb x
actions:
- trigger: post-packages
  action: |-
    #!/bin/sh
    true
mappings:
  architecture_map: debian
environment:
  clear_defaults: false
  variables:
  - key: A
    value: b
";

/// A name, a text that the spec holds once, and what stands there instead.
pub(super) const MUTATIONS: &[(&str, &str, &str)] = &[
    ("action without a script", "  action: |-\n    #!/bin/sh\n    true\n", ""),
    ("action without a trigger", "- trigger: post-packages\n  action", "- action"),
    ("action with a key of a file", "- trigger: post-packages", "- trigger: post-packages\n  generator: dump"),
    ("alias of an anchor", "    - less\n", "    - &p less\n    - *p\n"),
    ("alias without an anchor", "    - less\n", "    - *p\n"),
    ("architecture by an alias", "architecture: x86_64", "architecture: amd64"),
    ("architecture left out", "  architecture: x86_64\n", ""),
    ("architecture map of nobody", "architecture_map: debian", "architecture_map: gnu"),
    ("architecture map without a table", "architecture_map: debian", "architecture_map: slackware"),
    ("architecture map left out", "mappings:\n  architecture_map: debian\n", ""),
    ("architecture of nobody", "architecture: x86_64", "architecture: vax"),
    ("architecture of somebody else", "architecture: x86_64", "architecture: riscv64"),
    ("architectures as a text", "architecture_map: debian", "architectures: amd64"),
    ("architectures as a map", "architecture_map: debian", "architectures: {x86_64: amd64}"),
    ("as it is", "hello\npackages", "hello\npackages"),
    ("boolean as a number", "update: true", "update: 7"),
    ("boolean as a word", "update: true", "update: perhaps"),
    ("boolean in capitals", "update: true", "update: TRUE"),
    ("boolean of YAML 1.1", "update: true", "update: yes"),
    ("boolean that is quoted", "update: true", "update: \"true\""),
    ("boolean without a value", "update: true", "update:"),
    ("comment at the first column", "  url: http", "# Mirror\n  url: http"),
    ("configuration after a negative level", "before: 5", "after: -1"),
    ("configuration before a word", "before: 5", "before: five"),
    ("configuration of a wrong type", "type: all", "type: sytem"),
    ("configuration without a type", "    - type: all\n      before: 5\n", "    - before: 5\n"),
    ("distribution in blanks", "distribution: debian", "distribution: '  '"),
    ("distribution left out", "  distribution: debian\n", ""),
    ("distribution that leaves the directory", "distribution: debian", "distribution: ../etc"),
    ("document that ends early", "files:\n", "---\nfiles:\n"),
    ("downloader in capitals", "downloader: debootstrap", "downloader: Debootstrap"),
    ("downloader left out", "  downloader: debootstrap\n", ""),
    ("downloader of nobody", "downloader: debootstrap", "downloader: ftp"),
    ("downloader that is announced only", "downloader: debootstrap", "downloader: sabayon-http"),
    ("expiry nobody can read", "release: bookworm", "expiry: soon"),
    ("expiry of two units", "release: bookworm", "expiry: 1h 30m"),
    ("file generator left out", "- generator: hostname\n  path", "- path"),
    ("file generator of nobody", "generator: hostname", "generator: magic"),
    ("file generator with a blank", "generator: hostname", "generator: ' hostname'"),
    ("file mode not octal", "mode: 0644", "mode: 0999"),
    ("file mode quoted", "mode: 0644", "mode: '0644'"),
    ("file properties as a list", "  content: hello\n", "  content: hello\n  template: {properties: [a]}\n"),
    ("file template with when", "  content: hello\n", "  content: hello\n  template: {when: [create]}\n"),
    ("file with a key of nobody", "  content: hello\n", "  content: hello\n  colour: red\n"),
    ("file that is a text", "- generator: hostname\n  path: /etc/hostname\n", "- /etc/hostname\n"),
    ("filter as a text", "- trigger: post-packages", "- trigger: post-packages\n  releases: bookworm"),
    ("filter by a type of nobody", "generator: hostname", "generator: hostname\n  types: [lxc]"),
    ("filter by both types", "generator: hostname", "generator: hostname\n  types: [container, vm]"),
    ("filter by an architecture of nobody", "generator: hostname", "generator: hostname\n  architectures: [aaarch64]"),
    ("filter with numbers", "generator: hostname", "generator: hostname\n  releases: [16.0, 8]"),
    ("key of nobody at the top", "files:\n", "colour: red\nfiles:\n"),
    ("key of nobody in the image", "release: bookworm", "colour: red"),
    ("key of nobody in the source", "url: http", "mirror: http"),
    ("key that is there twice at the top", "environment:\n", "mappings: {}\nenvironment:\n"),
    ("key that is there twice in the image", "release: bookworm", "release: bookworm\n  release: trixie"),
    ("list as a map", "    - less\n", "      less: 1\n"),
    ("list without a value", "    packages:\n    - less\n", "    packages:\n"),
    ("manager left out", "  manager: apt\n", ""),
    ("manager in blanks", "manager: apt", "manager: ' '"),
    ("manager of nobody", "manager: apt", "manager: aptitude"),
    ("managers of both kinds", "manager: apt", "manager: apt\n  custom_manager: {clean: {cmd: true}}"),
    (
        "manager of its own",
        "manager: apt",
        "custom_manager: {clean: {cmd: true}, install: {cmd: a}, remove: {cmd: a}, refresh: {cmd: a}, update: {cmd: a}}",
    ),
    (
        "manager of its own without a command",
        "manager: apt",
        "custom_manager: {clean: {cmd: true}, install: {cmd: a}, remove: {cmd: a}, refresh: {cmd: a}, update: {}}",
    ),
    ("name of a template that never ends", "release: bookworm", "release: bookworm\n  name: '{% if x'"),
    ("repository without a name", "  - name: extra\n    url", "  - url"),
    ("repository with a key of nobody", "    url: deb x\n", "    url: deb x\n    colour: red\n"),
    ("section as a list", "source:\n  downloader: debootstrap\n  url: http", "source:\n- downloader: http"),
    (
        "section as a text",
        "environment:\n  clear_defaults: false\n  variables:\n  - key: A\n    value: b\n",
        "environment: x\n",
    ),
    (
        "section without a value",
        "environment:\n  clear_defaults: false\n  variables:\n  - key: A\n    value: b\n",
        "environment:\n",
    ),
    ("serial nobody can read", "release: bookworm", "serial: today"),
    ("set action left out", "  - action: install\n    packages", "  - packages"),
    ("set action of nobody", "action: install", "action: purge"),
    ("set flags as a text", "action: install", "action: install\n    flags: -y"),
    ("set that is early", "action: install", "action: install\n    early: true"),
    ("simplestreams section", "files:\n", "simplestreams: {}\nfiles:\n"),
    ("source keys as a text", "url: http", "keys: x\n  url: http"),
    ("source variant as a number", "url: http", "same_as: 3.12\n  url: http"),
    ("tab for indentation", "  release: bookworm", "\trelease: bookworm"),
    ("target of the old name", "targets:\n", "targets:\n  lxd: {vm: {size: 1}}\n"),
    ("target virtual machine", "targets:\n", "targets:\n  incus: {vm: {size: 4294967296, filesystem: btrfs}}\n"),
    ("target virtual machine of a negative size", "targets:\n", "targets:\n  incus: {vm: {size: -1}}\n"),
    ("target virtual machine with a boot size", "targets:\n", "targets:\n  incus: {vm: {boot_size: 1}}\n"),
    ("trigger in capitals", "trigger: post-packages", "trigger: Post-Packages"),
    ("trigger of nobody", "trigger: post-packages", "trigger: post-install"),
    ("value as a list", "value: b", "value: [b]"),
    ("value as a map", "release: bookworm", "release: {a: b}"),
];
