//! tdl syntax.
