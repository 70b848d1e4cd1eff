//! tdl loops.
