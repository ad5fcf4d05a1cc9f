//! The `matrix` section: which images one spec is for.

use std::collections::{BTreeMap, BTreeSet};

use formats::image::ImageId;
use formats::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::overrides::Override;
use super::text::{Text, nullable};
use super::{Definition, Spec, SpecErrorKind};

/// The images a spec is for, and how they are built.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Matrix {
    /// Every combination is a cell.
    #[serde(deserialize_with = "nullable")]
    axes: Cells,
    /// Cells that are left out.
    #[serde(deserialize_with = "nullable")]
    exclude: Vec<Cells>,
    /// What is different in some cells.
    #[serde(deserialize_with = "nullable")]
    overrides: Vec<CellOverrides>,
    /// How long the build of a cell may take.
    timeout: Text,
    /// When cells are built: five cron fields, or a word such as `@daily`.
    schedule: Text,
}

/// Some cells: those with one of the values of each list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Cells {
    #[serde(deserialize_with = "nullable")]
    releases: Vec<Text>,
    #[serde(deserialize_with = "nullable")]
    architectures: Vec<Text>,
    #[serde(deserialize_with = "nullable")]
    variants: Vec<Text>,
}

/// What is different in some cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CellOverrides {
    #[serde(deserialize_with = "nullable")]
    cells: Cells,
    /// Values as `-o` takes them, by their dotted path.
    #[serde(deserialize_with = "nullable")]
    set: BTreeMap<Text, Text>,
    timeout: Text,
}

/// One image of a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) image: ImageId,
    /// What makes this image of the spec.
    pub(crate) options: Vec<Override>,
    /// How long its build may take.
    pub(crate) timeout: Option<Span>,
    /// When it is built.
    pub(crate) schedule: Option<String>,
}

/// The options of a cell before it is known which image they make.
struct Combination {
    options: Vec<Override>,
    timeout: Option<Span>,
}

impl Cells {
    fn kinds(&self) -> [&[Text]; 3] {
        [&self.releases, &self.architectures, &self.variants]
    }

    fn hold(&self, values: [Option<&Text>; 3]) -> bool {
        let mut pairs = self.kinds().into_iter().zip(values);
        pairs.all(|(list, value)| list.is_empty() || value.is_some_and(|value| list.contains(value)))
    }
}

impl Matrix {
    /// Refuses what no cell could mean: a value that is on no axis is a typing error.
    pub(crate) fn check(&self) -> Result<(), MatrixError> {
        let groups = self.exclude.iter().chain(self.overrides.iter().map(|entry| &entry.cells));
        for cells in groups {
            for ((list, axis), name) in cells.kinds().into_iter().zip(self.axes.kinds()).zip(AXES) {
                if let Some(found) = list.iter().find(|value| !axis.contains(value)) {
                    return Err(MatrixError::NotOnAxis { axis: name, found: found.to_string() });
                }
            }
        }
        for list in self.axes.kinds() {
            if let Some(found) =
                list.iter().enumerate().find(|(index, value)| list.iter().take(*index).any(|earlier| earlier == *value))
            {
                return Err(MatrixError::Twice { found: found.1.to_string() });
            }
        }
        for timeout in self.overrides.iter().map(|entry| &entry.timeout).chain([&self.timeout]) {
            span(timeout)?;
        }
        if !self.schedule.is_empty() && !is_schedule(&self.schedule) {
            return Err(MatrixError::Schedule { found: self.schedule.to_string() });
        }
        Ok(())
    }

    /// The options and the timeout of every cell: releases change slowest, variants fastest.
    fn combinations(&self) -> Result<Vec<Combination>, MatrixError> {
        let values =
            |list: &[Text]| if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() };
        let [releases, architectures, variants] = self.axes.kinds().map(values);
        let mut combinations = Vec::new();
        for release in &releases {
            for architecture in &architectures {
                for variant in &variants {
                    let cell = [release.as_ref(), architecture.as_ref(), variant.as_ref()];
                    if !self.exclude.iter().any(|cells| cells.hold(cell)) {
                        combinations.push(self.cell(cell)?);
                    }
                }
            }
        }
        Ok(combinations)
    }

    fn cell(&self, values: [Option<&Text>; 3]) -> Result<Combination, MatrixError> {
        let named = KEYS.into_iter().zip(values);
        let mut options: Vec<_> =
            named.filter_map(|(key, value)| value.map(|value| Override::new(key, value.as_str()))).collect();
        let mut timeout = span(&self.timeout)?;
        for entry in self.overrides.iter().filter(|entry| entry.cells.hold(values)) {
            options.extend(entry.set.iter().map(|(key, value)| Override::new(key, value.as_str())));
            timeout = span(&entry.timeout)?.or(timeout);
        }
        Ok(Combination { options, timeout })
    }
}

/// The cells of a spec; one without a matrix is one cell. Each must be a spec that `validate` accepts.
pub(super) fn cells(yaml: &str, given: &[Override], now: Timestamp) -> Result<Vec<Cell>, SpecErrorKind> {
    let written: Definition = serde_saphyr::from_str(yaml).map_err(|error| SpecErrorKind::Yaml(error.to_string()))?;
    let matrix = written.matrix.unwrap_or_default();
    matrix.check()?;
    let schedule = (!matrix.schedule.is_empty()).then(|| matrix.schedule.to_string());
    let mut cells = Vec::new();
    let mut images = BTreeSet::new();
    for Combination { options, timeout } in matrix.combinations()? {
        let all: Vec<Override> = options.iter().chain(given).cloned().collect();
        let image = Spec::parse(yaml, &all, now)?.image;
        if !images.insert(image.clone()) {
            return Err(MatrixError::SameImage { image }.into());
        }
        cells.push(Cell { image, options, timeout, schedule: schedule.clone() });
    }
    Ok(cells)
}

/// Why a matrix has no cells.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MatrixError {
    #[error("`matrix`: `{found}` is not among `matrix.axes.{axis}`")]
    NotOnAxis { axis: &'static str, found: String },
    #[error("`matrix.axes`: `{found}` is there twice")]
    Twice { found: String },
    #[error("`matrix`: two cells are the image `{image}`")]
    SameImage { image: ImageId },
    #[error(
        "`matrix.schedule`: expected five cron fields or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, found `{found}`"
    )]
    Schedule { found: String },
    #[error("`matrix`: `timeout`")]
    Timeout(#[from] formats::time::ParseTimeError),
}

fn span(text: &Text) -> Result<Option<Span>, MatrixError> {
    if text.is_empty() { Ok(None) } else { Ok(Some(text.parse()?)) }
}

/// Whether a text has the shape of a schedule. What its fields mean is the scheduler's to say.
fn is_schedule(text: &str) -> bool {
    let is_field = |field: &str| field.chars().all(|c| c.is_ascii_alphanumeric() || "*,-/".contains(c));
    ["@hourly", "@daily", "@weekly", "@monthly"].contains(&text)
        || (text.split_whitespace().count() == 5 && text.split_whitespace().all(is_field))
}

const AXES: [&str; 3] = ["releases", "architectures", "variants"];
const KEYS: [&str; 3] = ["image.release", "image.architecture", "image.variant"];

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "image: {distribution: alpine}\nsource: {downloader: alpinelinux-http}\n\
                        packages: {manager: apk}\nmappings: {architecture_map: alpinelinux}\n";

    fn expand(matrix: &str) -> Result<Vec<Cell>, String> {
        let all = cells(&format!("{SPEC}{matrix}"), &[], Timestamp::from_unix(0));
        all.map_err(|error| error.to_string())
    }

    #[test]
    fn cells_are_every_combination_but_the_excluded_ones() {
        let cells = expand(
            "matrix:\n  axes:\n    releases: [3.20, 3.21, edge]\n    architectures: [x86_64, arm64, riscv64]\n    \
             variants: [default, cloud, tinycloud]\n  exclude:\n  - {architectures: [riscv64], variants: [cloud]}\n  \
             - {releases: [edge], architectures: [riscv64, arm64], variants: [tinycloud]}\n  overrides:\n  \
             - {cells: {releases: [edge]}, set: {source.same_as: 3.21}, timeout: 20m}\n  timeout: 10m\n  \
             schedule: 5 4 * * 1-5\n",
        )
        .unwrap();
        assert_eq!(cells.len(), 27 - 3 - 2);
        assert_eq!(cells[0].image.to_string(), "alpine/3.20/amd64/default");
        assert_eq!(cells[0].timeout, Some("10m".parse().unwrap()));
        let last = cells.last().unwrap();
        let options: Vec<String> = last.options.iter().map(ToString::to_string).collect();
        assert_eq!(
            options,
            ["image.release=edge", "image.architecture=riscv64", "image.variant=default", "source.same_as=3.21"]
        );
        assert_eq!(last.timeout, Some("20m".parse().unwrap()));
        assert_eq!(last.schedule.as_deref(), Some("5 4 * * 1-5"));
    }

    #[test]
    fn a_spec_without_a_matrix_is_one_image() {
        let cells = expand("").unwrap();
        assert_eq!(cells.len(), 1);
        assert!(cells[0].options.is_empty());
    }

    #[test]
    fn a_matrix_that_lies_is_refused() {
        for (matrix, expected) in [
            ("matrix: {axes: {releases: [a]}, exclude: [{releases: [b]}]}\n", "`b` is not among"),
            ("matrix: {axes: {variants: [a]}, overrides: [{cells: {releases: [b]}}]}\n", "`b` is not among"),
            ("matrix: {axes: {releases: [a, a]}}\n", "twice"),
            ("matrix: {axes: {architectures: [amd64, x86_64]}}\n", "two cells are the image"),
            ("matrix: {axes: {architectures: [vax]}}\n", "`image.architecture`"),
            ("matrix: {schedule: at noon}\n", "`matrix.schedule`"),
            ("matrix: {timeout: soon}\n", "`timeout`"),
            ("matrix: {colour: red}\n", "colour"),
            ("matrix: {axes: {releases: [a]}, overrides: [{set: {image.colour: red}}]}\n", "image.colour"),
        ] {
            let error = expand(matrix).unwrap_err();
            assert!(error.contains(expected), "expected `{expected}` in `{error}`");
        }
    }

    /// What the public image server of the field builds every day (lxc-ci `jenkins/jobs`): axes, and what is left out.
    const FIELD: [(&str, &str, usize); 24] = [
        ("almalinux", "releases: [8, 9, 10], architectures: [amd64, arm64], variants: [default, cloud]", 12),
        (
            "alpine",
            "releases: [3.21, 3.22, 3.23, 3.24, edge], architectures: [amd64, arm64, armhf, riscv64], \
             variants: [default, cloud, tinycloud]}, exclude: [{releases: [edge], architectures: [riscv64], variants: [cloud]}",
            59,
        ),
        ("alt", "releases: [Sisyphus, p11], architectures: [amd64, arm64]", 4),
        ("amazonlinux", "releases: [2023], architectures: [amd64]", 1),
        (
            "archlinux",
            "architectures: [amd64, arm64, riscv64], variants: [default, cloud]}, \
             exclude: [{architectures: [arm64, riscv64], variants: [cloud]}",
            4,
        ),
        ("busybox", "releases: [1.38.0], architectures: [amd64, arm64]", 2),
        ("centos", "releases: [9-Stream, 10-Stream], architectures: [amd64, arm64], variants: [default, cloud]", 8),
        (
            "debian",
            "releases: [bullseye, bookworm, trixie, forky], architectures: [amd64, arm64, armhf, riscv64], \
             variants: [default, cloud]}, exclude: [{releases: [bullseye, bookworm], architectures: [riscv64]}",
            28,
        ),
        (
            "devuan",
            "releases: [chimaera, daedalus, excalibur], architectures: [amd64, arm64], variants: [default, cloud]}, \
             exclude: [{releases: [excalibur], variants: [cloud]}",
            10,
        ),
        ("fedora", "releases: [43, 44], architectures: [amd64, arm64], variants: [default, cloud]", 8),
        (
            "freebsd",
            "releases: [14.4, 15.0, 15.1], architectures: [amd64, arm64], \
             variants: [default-zfs, default-ufs, cloud-zfs, cloud-ufs]",
            24,
        ),
        ("gentoo", "releases: [current], architectures: [amd64, arm64], variants: [openrc, systemd]", 4),
        ("kali", "releases: [current], architectures: [amd64, arm64], variants: [default, cloud]", 4),
        (
            "mint",
            "releases: [ulyana, ulyssa, uma, una, vanessa, vera, victoria, virginia], architectures: [amd64], \
             variants: [default, cloud]",
            16,
        ),
        ("nixos", "releases: [unstable, 26.05], architectures: [amd64, arm64]", 4),
        ("openeuler", "releases: [24.03], architectures: [amd64, arm64], variants: [default, cloud]", 4),
        (
            "opensuse",
            "releases: [16.0, tumbleweed], architectures: [amd64, arm64], variants: [default, cloud, desktop-kde]}, \
             exclude: [{releases: [16.0], variants: [desktop-kde]}, {architectures: [arm64], variants: [desktop-kde]}",
            9,
        ),
        ("openwrt", "releases: [snapshot, 24.10, 25.12], architectures: [amd64, arm64]", 6),
        ("oracle", "releases: [8, 9, 10], architectures: [amd64, arm64], variants: [default, cloud]", 12),
        ("plamo", "releases: [8.x], architectures: [amd64]", 1),
        ("rockylinux", "releases: [8, 9, 10], architectures: [amd64, arm64], variants: [default, cloud]", 12),
        ("slackware", "releases: [15.0, current], architectures: [amd64]", 2),
        (
            "ubuntu",
            "releases: [jammy, noble, resolute], architectures: [amd64, arm64, armhf, riscv64], \
             variants: [default, cloud, desktop]}, exclude: [{architectures: [arm64, armhf, riscv64], variants: [desktop]}, \
             {releases: [resolute], architectures: [riscv64]}",
            25,
        ),
        ("voidlinux", "releases: [current], architectures: [amd64, arm64], variants: [default, musl]", 4),
    ];

    #[test]
    fn everything_the_fields_image_server_builds_can_be_expressed() {
        let mut total = 0;
        for (distribution, axes, expected) in FIELD {
            let end = if axes.contains("exclude") { "]}" } else { "}}" };
            let cells = expand(&format!("matrix: {{axes: {{{axes}{end}\n"));
            let cells = cells.unwrap_or_else(|error| panic!("{distribution}: {error}"));
            assert_eq!(cells.len(), expected, "{distribution}");
            total += cells.len();
        }
        assert_eq!(total, 263);
    }
}
