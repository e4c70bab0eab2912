//! The `filter` of lists: <https://cloud.google.com/compute/docs/reference/rest/v1/images/list>.
//!
//! `family = base`, `labels.profile:*`, `(a = b) AND (c != d)`, `-status = FAILED`, and the older form `name eq 'ab.*'`
//! with a regular expression of the whole value, which is what gcloud sends.

use crate::error::{ApiError, Result};
use crate::http::glob;
use regex_lite::Regex;
use serde_json::Value;

/// A parsed filter.
#[derive(Debug)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// Field, operator, operand.
    Test(String, String, String),
}

pub fn parse(text: &str) -> Result<Filter> {
    let mut words = words(text).into_iter().peekable();
    let parsed = any(&mut words).filter(|_| words.peek().is_none());
    parsed.ok_or_else(|| {
        ApiError::invalid(format!(
            "Invalid value for field 'filter': '{text}'. Invalid list filter expression."
        ))
    })
}

type Words = std::iter::Peekable<std::vec::IntoIter<String>>;

/// Splits into words, operators and parentheses; what is quoted is one word, marked with a leading quote.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' | ')' => words.push(c.to_string()),
            '=' | ':' => words.push(c.to_string()),
            '!' | '<' | '>' => {
                let mut operator = c.to_string();
                operator.extend(chars.next_if_eq(&'='));
                words.push(operator);
            }
            '"' | '\'' => {
                let mut word = "\"".to_owned();
                while let Some(inner) = chars.next().filter(|inner| *inner != c) {
                    word.push(inner);
                    // An escaped quote does not end it; any other backslash is an expression's.
                    if inner == '\\' && chars.peek() == Some(&c) {
                        word.pop();
                        word.extend(chars.next());
                    }
                }
                words.push(word);
            }
            c => {
                let mut word = c.to_string();
                while let Some(next) =
                    chars.next_if(|next| !next.is_whitespace() && !"()=:!<>".contains(*next))
                {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    words
}

fn any(words: &mut Words) -> Option<Filter> {
    let mut parts = vec![all(words)?];
    while words.next_if(|word| word == "OR").is_some() {
        parts.push(all(words)?);
    }
    Some(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Filter::Any(parts)
    })
}

fn all(words: &mut Words) -> Option<Filter> {
    let mut parts = vec![one(words)?];
    while words.peek().is_some_and(|word| word != ")" && word != "OR") {
        words.next_if(|word| word == "AND");
        parts.push(one(words)?);
    }
    Some(if parts.len() == 1 {
        parts.remove(0)
    } else {
        Filter::All(parts)
    })
}

fn one(words: &mut Words) -> Option<Filter> {
    let first = words.next()?;
    if first == "(" {
        let inner = any(words)?;
        return words.next_if(|word| word == ")").map(|_| inner);
    }
    if first == "NOT" || first == "-" {
        return Some(Filter::Not(Box::new(one(words)?)));
    }
    let (negated, field) = match first.strip_prefix('-') {
        Some(field) => (true, field),
        None => (false, first.as_str()),
    };
    let field = field.trim_start_matches('"').to_owned();
    let operator = words.next_if(|word| {
        ["=", "!=", ":", "<", ">", "<=", ">=", "eq", "ne"].contains(&word.as_str())
    })?;
    let operand = words.next().filter(|word| word != "(" && word != ")")?;
    let test = Filter::Test(
        field,
        operator,
        operand.strip_prefix('"').unwrap_or(&operand).to_owned(),
    );
    Some(if negated {
        Filter::Not(Box::new(test))
    } else {
        test
    })
}

impl Filter {
    pub fn matches(&self, item: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(item)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(item)),
            Self::Not(part) => !part.matches(item),
            Self::Test(field, operator, operand) => {
                let found = field
                    .split('.')
                    .try_fold(item, |value, name| value.get(name));
                test(found, operator, operand)
            }
        }
    }
}

fn test(found: Option<&Value>, operator: &str, operand: &str) -> bool {
    let text = found.map(|value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    });
    let text = text.as_deref();
    let order = || {
        let text = text?;
        match (text.parse::<f64>(), operand.parse::<f64>()) {
            (Ok(a), Ok(b)) => a.partial_cmp(&b),
            _ => Some(text.cmp(operand)),
        }
    };
    match operator {
        "=" => text.is_some_and(|text| glob(operand, text)),
        "!=" => !text.is_some_and(|text| glob(operand, text)),
        ":" if operand == "*" => found.is_some(),
        ":" => text.is_some_and(|text| {
            text.to_lowercase()
                .contains(&operand.trim_matches('*').to_lowercase())
        }),
        "eq" => text.is_some_and(|text| pattern(operand, text)),
        "ne" => !text.is_some_and(|text| pattern(operand, text)),
        "<" => order().is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order().is_some_and(std::cmp::Ordering::is_le),
        ">" => order().is_some_and(std::cmp::Ordering::is_gt),
        _ => order().is_some_and(std::cmp::Ordering::is_ge),
    }
}

/// A regular expression of the whole value. One that is none matches nothing.
fn pattern(pattern: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| regex.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters_say_what_they_say_at_google() {
        let image = json!({"name": "base-1", "family": "base", "diskSizeGb": "20", "labels": {"profile": "cuda"}, "status": "READY"});
        for (text, expected) in [
            ("family = base", true),
            ("family=\"base\"", true),
            ("family=other", false),
            ("family != other", true),
            ("(family = base) AND (status = READY)", true),
            ("(family = base) (status = FAILED)", false),
            ("family = x OR name = base-*", true),
            ("labels.profile = cuda", true),
            ("labels.profile:*", true),
            ("labels.other:*", false),
            ("-labels.other:*", true),
            ("NOT family = base", false),
            ("name:ase", true),
            ("name eq 'base-.*'", true),
            ("name eq base", false),
            ("name ne base", true),
            ("name eq (other|base-1)", false),
            ("name eq '(other|base-1)'", true),
            (r#"family eq ".*\bbase\b.*""#, true),
            (r#"name eq ".*\bas\b.*""#, false),
            ("diskSizeGb > 3", true),
            ("diskSizeGb <= 3", false),
        ] {
            match parse(text) {
                Ok(filter) => assert_eq!(filter.matches(&image), expected, "{text}"),
                Err(_) => assert!(!expected, "{text}"),
            }
        }
        for text in ["family", "family =", "(family = base", "= base", "a = b)"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
