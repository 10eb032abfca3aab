//! Which paths a query is about.

use alloc::vec::Vec;

/// A path with wildcards: names divided by `/`, where one `*` in a name stands
/// for any characters. It selects whatever it matches, children included. The
/// empty pattern selects everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern<'a> {
    parts: Vec<Part<'a>>,
}

/// A name or, with `after`, what stands before and after its `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    before: &'a str,
    after: Option<&'a str>,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// Two `*` in one name.
    TwoStars,
    /// A name of no characters between two `/`.
    EmptyName,
}

impl<'a> Pattern<'a> {
    /// Reads a pattern; a `/` at its start or end means nothing.
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn new(text: &'a str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let names = text.split('/').filter(|_| !text.is_empty());
        let parts = names.map(Part::new).collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    pub(crate) fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }
}

impl<'a> Part<'a> {
    fn new(name: &'a str) -> Result<Self, PatternError> {
        match name.split_once('*') {
            _ if name.is_empty() => Err(PatternError::EmptyName),
            None => Ok(Self {
                before: name,
                after: None,
            }),
            Some((_, after)) if after.contains('*') => Err(PatternError::TwoStars),
            Some((before, after)) => Ok(Self {
                before,
                after: Some(after),
            }),
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self.after {
            None => self.before == name,
            Some(after) => name
                .strip_prefix(self.before)
                .is_some_and(|rest| rest.ends_with(after)),
        }
    }
}

impl core::fmt::Display for PatternError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TwoStars => "at most one * is allowed in each name of a path",
            Self::EmptyName => "no empty names are allowed in a path",
        })
    }
}
