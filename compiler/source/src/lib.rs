//! tdl source.
