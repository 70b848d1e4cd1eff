//! tdl types.
