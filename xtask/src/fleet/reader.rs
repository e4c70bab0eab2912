//! Takes typed values out of a parsed file and collects everything that is wrong on the way.

use std::{fmt::Display, ops::Range};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::problem::Problem;

/// The problems found so far.
#[derive(Default)]
pub struct Reader {
    /// In the order in which they were found.
    pub problems: Vec<Problem>,
}

/// A table of the file, its keys known to be allowed ones.
pub struct Table<'a> {
    path: String,
    header: Range<usize>,
    entries: &'a DeTable<'a>,
}

/// A value of the file and its place.
pub struct Value<'a> {
    /// The key path.
    pub path: String,
    /// Where the key is.
    pub key_span: Range<usize>,
    /// The value with its span.
    pub value: &'a Spanned<DeValue<'a>>,
}

impl Table<'_> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.entries
            .get_key_value(key)
            .map(|(key, value)| value_of(&self.path, key, value))
    }

    /// Every value.
    pub fn values(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), value_of(&self.path, key, value)))
    }

    /// The key path of an entry.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn value_of<'a>(
    path: &str,
    key: &Spanned<DeString<'a>>,
    value: &'a Spanned<DeValue<'a>>,
) -> Value<'a> {
    Value {
        path: join(path, key.get_ref()),
        key_span: key.span(),
        value,
    }
}

fn join(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let dot = if path.is_empty() { "" } else { "." };
    if !key.is_empty() && key.chars().all(bare) {
        format!("{path}{dot}{key}")
    } else {
        format!("{path}{dot}{key:?}")
    }
}

impl Reader {
    /// Adds a problem.
    pub fn refuse(
        &mut self,
        key: &str,
        span: Range<usize>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.problems.push(Problem {
            key: key.into(),
            span,
            what: what.into(),
            mend: mend.into(),
        });
    }

    fn refuse_value(&mut self, value: &Value, what: impl Into<String>, mend: impl Into<String>) {
        self.refuse(&value.path, value.value.span(), what, mend);
    }

    /// The file's outermost table.
    pub fn root<'a>(&mut self, file: &'a DeTable<'a>, known: &[&str]) -> Table<'a> {
        self.known(String::new(), 0..0, file, known)
    }

    /// A table with no keys but these.
    pub fn table<'a>(&mut self, value: &Value<'a>, known: &[&str]) -> Option<Table<'a>> {
        let table = self.any_table(value)?;
        Some(self.known(table.path, table.header, table.entries, known))
    }

    /// A table with keys of the team's choice.
    pub fn any_table<'a>(&mut self, value: &Value<'a>) -> Option<Table<'a>> {
        if let DeValue::Table(entries) = value.value.get_ref() {
            let (path, header) = (value.path.clone(), value.key_span.clone());
            return Some(Table {
                path,
                header,
                entries,
            });
        }
        self.refuse_value(
            value,
            "must be a table",
            "Write it as a [table] or as { key = value }.",
        );
        None
    }

    fn known<'a>(
        &mut self,
        path: String,
        header: Range<usize>,
        entries: &'a DeTable<'a>,
        known: &[&str],
    ) -> Table<'a> {
        for key in entries.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let mend = match did_you_mean(name, known) {
                    Some(near) => format!("Did you mean {near}?"),
                    None => format!("Remove it, or write one of: {}.", known.join(", ")),
                };
                self.refuse(&join(&path, name), key.span(), "is not a known key", mend);
            }
        }
        Table {
            path,
            header,
            entries,
        }
    }

    /// A value that must be there, and what it may look like.
    pub fn required<'t>(
        &mut self,
        table: &'t Table,
        key: &str,
        example: &str,
    ) -> Option<Value<'t>> {
        let value = table.get(key);
        if value.is_none() {
            self.refuse(
                &table.path_of(key),
                table.header.clone(),
                "is missing",
                format!("Write {example}."),
            );
        }
        value
    }

    /// A string of a form.
    pub fn text(
        &mut self,
        value: &Value,
        form: impl Fn(&str) -> bool,
        what: &str,
        mend: &str,
    ) -> Option<String> {
        let text = self.any_text(value)?;
        if form(text) {
            return Some(text.to_owned());
        }
        self.refuse_value(value, format!("{text:?} is not {what}"), mend);
        None
    }

    fn any_text<'a>(&mut self, value: &Value<'a>) -> Option<&'a str> {
        let text = value.value.get_ref().as_str();
        if text.is_none() {
            self.refuse_value(value, "must be a string", "Put the value in quotes.");
        }
        text
    }

    /// One of some words.
    pub fn choice<T: Copy>(&mut self, value: &Value, choices: &[(&str, T)]) -> Option<T> {
        let text = self.any_text(value)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words: Vec<_> = choices
            .iter()
            .map(|(word, _)| format!("{word:?}"))
            .collect();
        self.refuse_value(
            value,
            format!("{text:?} is not one of the known values"),
            format!("Write {}.", words.join(" or ")),
        );
        None
    }

    /// A whole number that `allowed` accepts; `mend` says which those are.
    pub fn integer(
        &mut self,
        value: &Value,
        allowed: impl Fn(i64) -> bool,
        what: impl Fn(&dyn Display) -> String,
        mend: &str,
    ) -> Option<i64> {
        let DeValue::Integer(literal) = value.value.get_ref() else {
            self.refuse_value(
                value,
                "must be a whole number",
                "Write it without quotes or a fraction.",
            );
            return None;
        };
        let number = i64::from_str_radix(literal.as_str(), literal.radix()).ok();
        let number = number.filter(|n| allowed(*n));
        if number.is_none() {
            self.refuse_value(value, what(literal), mend);
        }
        number
    }

    /// True or false.
    pub fn boolean(&mut self, value: &Value) -> Option<bool> {
        let DeValue::Boolean(boolean) = value.value.get_ref() else {
            self.refuse_value(
                value,
                "must be true or false",
                "Write true or false, without quotes.",
            );
            return None;
        };
        Some(*boolean)
    }

    /// The values of a list.
    pub fn list<'a>(
        &mut self,
        value: &Value<'a>,
        what: &str,
        mend: &str,
    ) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(items) = value.value.get_ref() else {
            self.refuse_value(value, what, mend);
            return None;
        };
        Some(
            items
                .iter()
                .map(|item| Value {
                    path: value.path.clone(),
                    key_span: value.key_span.clone(),
                    value: item,
                })
                .collect(),
        )
    }
}

/// The word that was probably meant.
pub fn did_you_mean<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
