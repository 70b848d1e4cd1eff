//! Gradients against central differences in f64, through the reference interpreter.

mod control;
mod higher;
mod machine;
mod ops;
mod programs;
mod rules;
mod support;
mod tables;
