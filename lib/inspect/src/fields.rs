//! The macro for structs that are told field by field.

/// Implements [`Inspect`](crate::Inspect) for a struct: each field with what
/// it is, one of `u64`, `i64`, `bool`, `str`, `display`, `child` and `list`.
///
/// ```
/// struct Cpu { id: u32, idle: bool, name: &'static str }
/// inspect::inspect!(Cpu { u64 id, bool idle, str name });
/// ```
#[macro_export]
macro_rules! inspect {
    ($type:ty { $($kind:ident $field:ident),* $(,)? }) => {
        impl $crate::Inspect for $type {
            fn inspect(&self, node: &mut $crate::Node<'_>) {
                $( $crate::inspect!(@$kind node, stringify!($field), self.$field); )*
            }
        }
    };
    (@u64 $node:ident, $name:expr, $value:expr) => { $node.u64($name, u64::from($value)) };
    (@i64 $node:ident, $name:expr, $value:expr) => { $node.i64($name, i64::from($value)) };
    (@bool $node:ident, $name:expr, $value:expr) => { $node.bool($name, $value) };
    (@str $node:ident, $name:expr, $value:expr) => { $node.str($name, $value.as_ref()) };
    (@display $node:ident, $name:expr, $value:expr) => { $node.display($name, &$value) };
    (@child $node:ident, $name:expr, $value:expr) => { $node.child($name, &$value) };
    (@list $node:ident, $name:expr, $value:expr) => { $node.list($name, $value.iter()) };
}
