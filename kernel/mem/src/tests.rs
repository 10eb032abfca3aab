//! Tests of the crate over the simulated machine.
