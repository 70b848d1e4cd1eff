//! tdl elaborate.
