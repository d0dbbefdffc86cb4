//! Equal templates are compiled once: what is compiled, for as long as somebody uses it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::{Format, Template};

/// Templates by their sources. It keeps none of them alive.
#[derive(Default)]
pub struct Pool(HashMap<Box<str>, Vec<(Format, Weak<Template>)>>);

impl Pool {
    /// The template that an equal source was compiled to, if it is still used.
    #[must_use]
    pub fn get(&self, source: &str, format: Format) -> Option<Arc<Template>> {
        self.0.get(source)?.iter().find(|(known, _)| *known == format)?.1.upgrade()
    }

    /// Offers a template to all who compile the same. It must not hold the value of a reference, for that may be another one
    /// the next time.
    pub fn keep(&mut self, source: &str, format: Format, template: &Arc<Template>) {
        let known = self.0.entry(source.into()).or_default();
        known.retain(|(other, _)| *other != format);
        known.push((format, Arc::downgrade(template)));
    }

    /// Forgets what nobody uses any more.
    pub fn prune(&mut self) {
        self.0.retain(|_, known| {
            known.retain(|(_, template)| template.strong_count() > 0);
            !known.is_empty()
        });
    }

    /// How many sources are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_known_by_its_source_and_format_until_nobody_uses_it() {
        let mut pool = Pool::default();
        let unset = &mut |_: &str| Err((String::new(), String::new()));
        let template = Arc::new(Template::compile("{{a}}", Format::Text, unset).unwrap());
        pool.keep("{{a}}", Format::Text, &template);
        assert!(Arc::ptr_eq(&pool.get("{{a}}", Format::Text).unwrap(), &template));
        assert!(pool.get("{{a}}", Format::Json).is_none());
        assert!(pool.get("{{b}}", Format::Text).is_none());
        pool.prune();
        assert_eq!(pool.len(), 1);
        drop(template);
        assert!(pool.get("{{a}}", Format::Text).is_none());
        pool.prune();
        assert!(pool.is_empty());
    }
}
