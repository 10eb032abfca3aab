//! What is found at a path.

/// A value of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A count, a size, a time; the name tells the unit.
    U64(u64),
    /// A number that can be negative.
    I64(i64),
    /// Yes or no.
    Bool(bool),
    /// Text.
    Str(&'a str),
    /// A node with children that the query's depth leaves out.
    Node,
}

impl core::fmt::Display for Value<'_> {
    /// Text is quoted and escaped, so that a value is always one line.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::U64(value) => write!(f, "{value}"),
            Self::I64(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Str(value) => write!(f, "{value:?}"),
            Self::Node => f.write_str("..."),
        }
    }
}
