//! Typed access to a TOML document that keeps lines: [`Reader`] parses,
//! [`Table`] hands out values and builds the error sentences.

use crate::{ConfigError, size};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) struct Reader<'t> {
    text: &'t str,
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text }
    }

    pub fn parse(&self) -> Result<Spanned<DeTable<'t>>, ConfigError> {
        DeTable::parse(self.text).map_err(|error| ConfigError {
            line: self.line(error.span().unwrap_or(0..0)),
            message: error.message().replace('\n', "; "),
        })
    }

    pub fn root<'a>(&'a self, document: &'a Spanned<DeTable<'t>>) -> Table<'a> {
        Table {
            reader: self,
            table: document.get_ref(),
            span: document.span(),
        }
    }

    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// One table of the document.
pub(crate) struct Table<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Table<'a> {
    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Refuses any key that is not in `allowed`.
    pub fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        for key in self.table.keys() {
            if !allowed.contains(&key.get_ref().as_ref()) {
                let message = format!(
                    "unknown key `{}`; the keys allowed here are {}",
                    key.get_ref(),
                    allowed.join(", ")
                );
                return Err(self.error(key.span(), message));
            }
        }
        Ok(())
    }

    /// The error for a key that must be there and is not.
    pub fn missing(&self, key: &str, meaning: &str) -> ConfigError {
        self.error(
            self.span.clone(),
            format!("`{key}` is missing; it gives {meaning}"),
        )
    }

    /// An error at the line of `key`.
    pub fn wrong(&self, key: &str, message: String) -> ConfigError {
        let span = self.get(key).map_or(self.span.clone(), Spanned::span);
        self.error(span, message)
    }

    fn error(&self, span: Range<usize>, message: String) -> ConfigError {
        ConfigError {
            line: self.reader.line(span),
            message,
        }
    }

    fn mismatch(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: &str) -> ConfigError {
        let given = self.reader.text.get(value.span()).unwrap_or("?");
        let given = given.lines().next().unwrap_or_default();
        self.error(
            value.span(),
            format!("{key} = {given} is not allowed; use {allowed}"),
        )
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some("") | None => Err(self.mismatch(key, value, "a text in quotes")),
            text => Ok(text),
        }
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let flag = value.get_ref().as_bool();
        flag.map(Some)
            .ok_or_else(|| self.mismatch(key, value, "true or false"))
    }

    pub fn integer(&self, key: &str, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match integer(value).filter(|n| (min..=max).contains(n)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.mismatch(key, value, &format!("a number from {min} to {max}"))),
        }
    }

    /// A size in bytes; a plain number counts MiB.
    pub fn size(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let bytes = match value.get_ref().as_str() {
            Some(text) => size::parse(text),
            None => integer(value).and_then(|mib| mib.checked_mul(1 << 20)),
        };
        bytes
            .map(Some)
            .ok_or_else(|| self.mismatch(key, value, size::ALLOWED))
    }

    pub fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let given = value.get_ref().as_str();
        match choices.iter().find(|(word, _)| given == Some(word)) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let words: Vec<_> = choices
                    .iter()
                    .map(|(word, _)| format!("\"{word}\""))
                    .collect();
                Err(self.mismatch(key, value, &words.join(" or ")))
            }
        }
    }

    /// The tables of an array such as `[[disk]]`.
    pub fn tables(&self, key: &str) -> Result<Vec<Table<'a>>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let allowed = format!("[[{key}]] sections");
        let array = value.get_ref().as_array();
        let array = array.ok_or_else(|| self.mismatch(key, value, &allowed))?;
        array
            .iter()
            .map(|item| match item.get_ref().as_table() {
                Some(table) => Ok(Table {
                    reader: self.reader,
                    table,
                    span: item.span(),
                }),
                None => Err(self.mismatch(key, item, &allowed)),
            })
            .collect()
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<u64> {
    let integer = value.get_ref().as_integer()?;
    let digits = integer
        .as_str()
        .strip_prefix('+')
        .unwrap_or(integer.as_str());
    u64::from_str_radix(digits, integer.radix()).ok()
}
