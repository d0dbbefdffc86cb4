//! The recipes themselves, which are files of `config/recipes`, and what stands at their head.

/// A complete webhook for a tool.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Its name: the stem of its file.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

/// The table of them.
macro_rules! book {
    ($($name:literal)*) => {
        &[$(Recipe { name: $name, text: include_str!(concat!("../../../config/recipes/", $name, ".toml")) }),*]
    };
}

/// All of them, by name.
pub(super) const RECIPES: &[Recipe] = book! {
    "coralogix" "datadog" "elastic" "freshdesk" "jira" "logzio" "newrelic" "okta-workflows" "okta-workflows-oauth2" "opsgenie"
    "pagerduty" "servicenow" "signed" "slack" "slack-api" "splunk" "sumologic" "teams" "tines" "torq" "xsiam"
};

/// All of them, for the documentation and its tests.
#[must_use]
pub const fn recipes() -> &'static [Recipe] {
    RECIPES
}

/// The line that keeps a webhook from delivering.
const INACTIVE: &str = "status   = \"inactive\"   # remove this line when what is named above is set\n";

impl Recipe {
    /// Its first line: which tool, and what it does there.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        self.head().find(|line| !line.starts_with(':')).unwrap_or_default().trim()
    }

    /// What has to be set, as it stands in the head, indented by two.
    #[must_use]
    pub fn set(&self) -> Vec<&'static str> {
        let behind = self.head().skip_while(|line| line.trim() != "Set:").skip(1);
        behind.take_while(|line| line.starts_with("   ")).filter_map(|line| line.get(1..)).collect()
    }

    /// The comment at its head, without its marks.
    fn head(&self) -> impl Iterator<Item = &'static str> {
        self.text.lines().map_while(|line| line.strip_prefix('#'))
    }

    /// The file for a configuration: inactive, and with its schema where the configuration has that.
    pub(super) fn added(self, has_schema: bool) -> String {
        let text = if has_schema { self.text } else { self.text.split_once('\n').map_or(self.text, |(_, rest)| rest) };
        // Keys of the file itself stand before its tables, and the first of them is the title.
        match text.find("\ntitle ") {
            Some(at) => {
                let (head, rest) = text.split_at(at + 1);
                format!("{head}{INACTIVE}{rest}")
            }
            None => format!("{INACTIVE}{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_the_recipe_and_inactive() {
        for recipe in RECIPES {
            let added = recipe.added(true);
            assert_eq!(added.replacen(INACTIVE, "", 1), recipe.text, "{}", recipe.name);
            assert!(added.contains(&format!("\n{INACTIVE}title ")), "{}", recipe.name);
            assert!(!recipe.added(false).contains("#:schema"), "{}", recipe.name);
        }
    }
}
