//! Incus metadata: `metadata.yaml` and its templates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::yaml::{self, Node};

/// The content of `metadata.yaml` in `incus.tar.xz` (incus `shared/api/image.go`, `ImageMetadata`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncusMetadata {
    /// The architecture in a spelling Incus knows.
    pub architecture: String,
    /// Unix seconds.
    pub creation_date: i64,
    /// Unix seconds.
    pub expiry_date: i64,
    /// What `incus image info` shows: `os`, `release`, `variant`, `serial`, `description` …
    pub properties: BTreeMap<String, String>,
    /// Files Incus writes into the instance, by their absolute path.
    pub templates: BTreeMap<String, IncusTemplate>,
}

impl IncusMetadata {
    /// The document as YAML, in the bytes that distrobuilder writes.
    pub fn to_yaml(&self) -> String {
        let templates = self.templates.iter().map(|(path, template)| {
            let fields = vec![
                ("when", Node::List(&template.when)),
                ("create_only", Node::Bool(template.create_only)),
                ("template", Node::Text(&template.template)),
                ("properties", Node::texts(&template.properties)),
            ];
            (path.as_str(), Node::Map(fields))
        });
        yaml::document(&Node::Map(vec![
            ("architecture", Node::Text(&self.architecture)),
            ("creation_date", Node::Number(self.creation_date)),
            ("expiry_date", Node::Number(self.expiry_date)),
            ("properties", Node::texts(&self.properties)),
            ("templates", Node::Map(templates.collect())),
        ]))
    }
}

/// A file Incus writes into the instance from `templates/<template>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncusTemplate {
    /// The events after which the file is written: `create`, `copy`, `start`.
    pub when: Vec<String>,
    /// Only when the file does not exist yet.
    pub create_only: bool,
    /// The name of the file below `templates/`.
    pub template: String,
    /// Values the template may read.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_looks_like_a_number_stays_text() {
        let metadata = IncusMetadata {
            architecture: "x86_64".into(),
            creation_date: 1_795_411_320,
            expiry_date: 1_798_003_320,
            properties: BTreeMap::from([("release".into(), "3.20".into()), ("supported".into(), "yes".into())]),
            templates: BTreeMap::from([(
                "/etc/hostname".into(),
                IncusTemplate {
                    when: vec!["create".into(), "copy".into()],
                    create_only: false,
                    template: "hostname.tpl".into(),
                    properties: BTreeMap::new(),
                },
            )]),
        };
        let yaml = metadata.to_yaml();
        assert!(yaml.contains("release: \"3.20\"") || yaml.contains("release: '3.20'"), "{yaml}");
        assert_eq!(serde_saphyr::from_str::<IncusMetadata>(&yaml).unwrap(), metadata);
    }
}
