//! Specs: what an image is made of, in the format of distrobuilder.

pub(crate) mod check;
pub(crate) mod definition;
pub(crate) mod filter;
pub(crate) mod lines;
pub(crate) mod matrix;
pub(crate) mod overrides;
pub(crate) mod template;
pub(crate) mod text;

use std::io::Read;
use std::path::{Path, PathBuf};

use formats::arch::Arch;
use formats::digest::Sha256;
use formats::image::ImageId;
use formats::name::ParseNameError;
use formats::serial::{ParseSerialError, Serial};
use formats::time::{ParseTimeError, Span, Timestamp};
use serde_json::Value;
use terminal::{Advice, ExitStatus};

use self::check::CheckError;
use self::definition::Definition;
use self::lines::Lines;
use self::matrix::{Cell, MatrixError};
use self::overrides::{Override, OverrideError};
use self::template::{TemplateError, Templates};
use crate::limits;
use crate::mapping;

/// A spec for one image: overrides applied, defaults filled in, names checked.
pub(crate) struct Spec {
    /// Every key, with the values that hold for this build.
    pub(crate) definition: Definition,
    /// The image.
    pub(crate) image: ImageId,
    /// The build.
    pub(crate) serial: Serial,
    /// How long a copy in a client's cache is considered fresh.
    pub(crate) cache_span: Span,
    /// Where entries are in the file.
    pub(crate) lines: Lines,
    /// sha256 of the file as it was read.
    pub(crate) digest: Sha256,
    /// The file's directory: relative paths of `copy` entries start here.
    pub(crate) directory: PathBuf,
}

impl Spec {
    /// Reads the spec at `path`, or from standard input for `-`.
    pub(crate) fn load(path: &Path, overrides: &[Override], now: Timestamp) -> Result<Self, SpecError> {
        Self::of_text(path, &Self::text(path)?, overrides, now)
    }

    /// The spec at `path` as it is written.
    pub(crate) fn text(path: &Path) -> Result<String, SpecError> {
        read(path).map_err(|kind| SpecError { path: path.to_owned(), kind })
    }

    /// The spec `yaml`, which was read at `path`.
    pub(crate) fn of_text(path: &Path, yaml: &str, overrides: &[Override], now: Timestamp) -> Result<Self, SpecError> {
        let directory = path.parent().filter(|_| path != Path::new("-")).unwrap_or(Path::new("")).to_owned();
        let parsed = Self::parse(yaml, overrides, now).map(|spec| Self { directory, ..spec });
        parsed.map_err(|kind| SpecError { path: path.to_owned(), kind })
    }

    /// The images that the spec at `path` is for.
    pub(crate) fn cells(path: &Path, overrides: &[Override], now: Timestamp) -> Result<Vec<Cell>, SpecError> {
        let cells = read(path).and_then(|yaml| matrix::cells(&yaml, overrides, now));
        cells.map_err(|kind| SpecError { path: path.to_owned(), kind })
    }

    /// The spec that `yaml` is.
    pub(crate) fn parse(yaml: &str, overrides: &[Override], now: Timestamp) -> Result<Self, SpecErrorKind> {
        let written: Definition =
            serde_saphyr::from_str(yaml).map_err(|error| SpecErrorKind::Yaml(error.to_string()))?;
        let lines = Lines::of(yaml);
        let mut definition = overrides::apply(&written, overrides)?;
        if let Some(matrix) = definition.matrix.take() {
            matrix.check()?;
        }
        let arch = fill_in(&mut definition, now)?;
        check::check(&definition, &lines)?;
        let image = &definition.image;
        let name = |key, source| SpecErrorKind::Name { key, source };
        let release = if image.release.is_empty() { CURRENT } else { image.release.as_str() };
        let id = ImageId {
            distribution: image.distribution.parse().map_err(|source| name("image.distribution", source))?,
            release: release.parse().map_err(|source| name("image.release", source))?,
            arch,
            variant: image.variant.parse().map_err(|source| name("image.variant", source))?,
        };
        let serial = image.serial.parse()?;
        let cache_span = image.expiry.parse()?;
        let (digest, directory) = (Sha256::of(yaml.as_bytes()), PathBuf::new());
        Ok(Self { definition, image: id, serial, cache_span, lines, digest, directory })
    }

    /// The spec as it holds for this build, as YAML that builds the same image again. Keys that are empty or false are
    /// left out.
    pub(crate) fn to_yaml(&self) -> Result<String, String> {
        let document = serde_json::to_value(&self.definition).map_err(|error| error.to_string())?;
        serde_saphyr::to_string(&compact(document)).map_err(|error| error.to_string())
    }

    /// The templates of the spec, which see the whole definition.
    pub(crate) fn templates(&self) -> Result<Templates, TemplateError> {
        Templates::new(&self.definition)
    }
}

/// Fills in what the spec leaves out and what is computed, and returns the architecture.
fn fill_in(definition: &mut Definition, now: Timestamp) -> Result<Arch, CheckError> {
    let arch = check::arch(&definition.image.architecture)?;
    let image = &mut definition.image;
    for (value, default) in [
        (&mut image.architecture, arch.kernel_name()),
        (&mut image.variant, ImageId::DEFAULT_VARIANT),
        (&mut image.expiry, "30d"),
        (&mut image.serial, Serial::at(now).as_str()),
        (&mut image.name, DEFAULT_NAME),
        (&mut image.description, DEFAULT_DESCRIPTION),
    ] {
        if value.is_empty() {
            *value = default.into();
        }
    }
    image.architecture_mapped = mapping::mapped(&definition.mappings, arch, &image.architecture)?.into();
    image.architecture_kernel = arch.kernel_name().into();
    image.architecture_personality = arch.personality().into();
    Ok(arch)
}

fn compact(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| (key, compact(value)));
            Value::Object(entries.filter(|(_, value)| !is_default(value)).collect())
        }
        Value::Array(list) => list.into_iter().map(compact).collect(),
        other => other,
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn read(path: &Path) -> Result<String, SpecErrorKind> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if path == Path::new("-") { Box::new(std::io::stdin()) } else { Box::new(fs_err::File::open(path)?) };
    source.take(limits::SPEC_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::SPEC_BYTES {
        return Err(SpecErrorKind::TooLarge { limit: limits::SPEC_BYTES });
    }
    String::from_utf8(bytes).map_err(|_| SpecErrorKind::NotText)
}

/// Why a spec is not usable.
#[derive(Debug, thiserror::Error)]
#[error("spec `{}` is not usable", path.display())]
pub(crate) struct SpecError {
    path: PathBuf,
    #[source]
    kind: SpecErrorKind,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecErrorKind {
    #[error("it cannot be read")]
    Io(#[from] std::io::Error),
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("{0}")]
    Yaml(String),
    #[error(transparent)]
    Override(#[from] OverrideError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Matrix(#[from] MatrixError),
    #[error("`{key}`")]
    Name { key: &'static str, source: ParseNameError },
    #[error("`image.serial`")]
    Serial(#[from] ParseSerialError),
    #[error("`image.expiry`")]
    Expiry(#[from] ParseTimeError),
}

impl Advice for SpecError {
    fn hint(&self) -> Option<String> {
        match &self.kind {
            SpecErrorKind::Yaml(_) => Some("the keys of a spec are listed in image-specs/README.md".to_owned()),
            _ => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Refused
    }
}

/// The release of an image whose distribution has none.
const CURRENT: &str = "current";

const DEFAULT_NAME: &str = "{{ image.distribution }}-{{ image.release }}-{{ image.architecture_mapped }}-\
                            {{ image.variant }}-{{ image.serial }}";

const DEFAULT_DESCRIPTION: &str = "{{ image.distribution|capfirst }} {{ image.release }} \
                                   {{ image.architecture_mapped }}\
                                   {% if image.variant != \"default\" %} ({{ image.variant }}){% endif %} \
                                   ({{ image.serial }})";

#[cfg(test)]
mod tests;
