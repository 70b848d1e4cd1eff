//! tdl ir.
