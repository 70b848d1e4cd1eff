//! tdl transform.
