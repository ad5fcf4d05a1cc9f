//! Templates in a spec: the subset of Django's language that specs use.
//!
//! Variables, `if`/`elif`/`else`, `for`, `set`, comments and the usual filters, with `name:argument` for a filter's
//! argument. A name that nothing defines is empty. The result is rendered again as long as it holds tags, so that
//! `{{ image.description }}` works although descriptions are templates themselves. Files cannot be included.

use std::borrow::Cow;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use crate::limits;

/// Renders the templates of one spec.
pub(crate) struct Templates {
    environment: Environment<'static>,
    context: Value,
}

impl Templates {
    /// Templates that see `context`: the definition, by the names of its keys.
    pub(crate) fn new(context: &impl Serialize) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(limits::TEMPLATE_STEPS));
        environment.add_filter("capfirst", capfirst);
        let context = serde_json::to_value(context).map_err(TemplateError::Context)?;
        Ok(Self { environment, context: Value::from(minijinja::value::Serde(context)) })
    }

    /// The text with every tag replaced. `what` names it in errors, `targets.lxc.create_message`.
    pub(crate) fn render(&self, what: &str, text: &str) -> Result<String, TemplateError> {
        let mut text = text.to_owned();
        for _ in 0..limits::TEMPLATE_ROUNDS {
            if !has_tags(&text) {
                return Ok(text);
            }
            // The engine drops one newline at the end of its input.
            let source = with_call_syntax(&text).into_owned() + "\n";
            text = self
                .environment
                .render_str(&source, &self.context)
                .map_err(|source| TemplateError::Render { what: what.to_owned(), source })?;
            if text.len() > limits::RENDERED_BYTES {
                return Err(TemplateError::TooLarge { what: what.to_owned(), limit: limits::RENDERED_BYTES });
            }
        }
        if has_tags(&text) {
            return Err(TemplateError::Endless { what: what.to_owned(), rounds: limits::TEMPLATE_ROUNDS });
        }
        Ok(text)
    }
}

/// Why a template was not rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("the template in `{what}` cannot be rendered")]
    Render { what: String, source: minijinja::Error },
    #[error("the template in `{what}` still holds tags after {rounds} rounds: does a value contain itself?")]
    Endless { what: String, rounds: usize },
    #[error("the template in `{what}` grows beyond {limit} bytes")]
    TooLarge { what: String, limit: usize },
    #[error("the spec cannot be shown to its templates")]
    Context(#[source] serde_json::Error),
}

fn has_tags(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Upper-cases the first character and leaves the others, unlike `capitalize`.
fn capfirst(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Rewrites Django's filter arguments, `x|default:"y"`, as calls, `x|default("y")`, inside tags only.
fn with_call_syntax(text: &str) -> Cow<'_, str> {
    if !text.contains('|') || !text.contains(':') {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(start) = ["{{", "{%"].iter().filter_map(|open| rest.find(open)).min() {
        let (before, tag) = rest.split_at(start);
        let close = if tag.starts_with("{{") { "}}" } else { "%}" };
        let Some(end) = tag.find(close) else { break };
        result.push_str(before);
        result.push_str(&filters_as_calls(&tag[..end]));
        rest = &tag[end..];
    }
    result.push_str(rest);
    Cow::Owned(result)
}

/// One tag's text, filter arguments in parentheses.
fn filters_as_calls(tag: &str) -> String {
    let mut result = String::with_capacity(tag.len() + 2);
    let mut after_pipe = false;
    let mut characters = tag.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\'' => {
                result.push(character);
                for inner in characters.by_ref() {
                    result.push(inner);
                    if inner == character {
                        break;
                    }
                }
                continue;
            }
            '|' => after_pipe = true,
            ':' if after_pipe => {
                after_pipe = false;
                let mut argument = String::new();
                let quote = characters.next_if(|next| matches!(next, '"' | '\''));
                argument.extend(quote);
                while let Some(next) = characters.next_if(|next| match quote {
                    Some(_) => true,
                    None => next.is_alphanumeric() || "._".contains(*next),
                }) {
                    argument.push(next);
                    if Some(next) == quote {
                        break;
                    }
                }
                result.extend(["(", argument.as_str(), ")"]);
                continue;
            }
            other if !other.is_alphanumeric() && other != '_' && other != ' ' => after_pipe = false,
            _ => {}
        }
        result.push(character);
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        let context = json!({
            "image": {
                "release": "3.20",
                "distribution": "debian GNU",
                "description": "{{ image.distribution|capfirst }} {{ image.release }}",
                "endless": "a {{ image.endless }}",
                "doubling": "{{ image.doubling }}{{ image.doubling }}",
                "variant": "cloud",
            },
            "source": {"keys": ["k1", "k2"]},
        });
        Templates::new(&context)?.render("test", text)
    }

    #[test]
    fn the_constructs_of_real_specs_render_as_in_django() {
        for (template, expected) in [
            ("no tags {", "no tags {"),
            ("{{ image.release }}\n", "3.20\n"),
            ("[{{ nosuch.thing.at.all }}]", "[]"),
            ("{{ image.distribution|capfirst }}", "Debian GNU"),
            ("{{ image.distribution | upper }}", "DEBIAN GNU"),
            ("{{ image.description }}!", "Debian GNU 3.20!"),
            ("{% if image.variant == \"cloud\" %}c{% else %}d{% endif %}", "c"),
            ("{% if image.variant != \"cloud\" %}c{% elif not nosuch %}d{% endif %}", "d"),
            ("{% if image.variant in \"cloud desktop\" and image.release %}y{% endif %}", "y"),
            ("{{ nosuch|default:\"a:b\" }}", "a:b"),
            ("{{ nosuch|default:image.release }}", "3.20"),
            ("{{ source.keys|join:\", \" }} {{ source.keys|length }}", "k1, k2 2"),
            ("{% for key in source.keys %}<{{ key }}>{% endfor %}", "<k1><k2>"),
            ("{# gone #}<&>{{ \"<\" }}", "<&><"),
            ("http://a:80/|x:y/{{ image.release }}", "http://a:80/|x:y/3.20"),
        ] {
            assert_eq!(render(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_value_that_contains_itself_is_an_error_that_says_so() {
        assert!(matches!(render("{{ image.endless }}"), Err(TemplateError::Endless { .. })));
        assert!(render("{{ image.doubling }}").is_err());
    }

    #[test]
    fn loops_without_end_and_files_of_the_host_are_out_of_reach() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}\
                     {% endfor %}{% endfor %}";
        assert!(matches!(render(loops), Err(TemplateError::Render { .. })));
        assert!(matches!(render("{% include \"/etc/passwd\" %}"), Err(TemplateError::Render { .. })));
    }

    #[test]
    fn a_tag_that_is_not_closed_is_an_error_that_names_the_key() {
        assert!(render("{% if x %}").unwrap_err().to_string().contains("`test`"));
    }
}
