//! Tensor operations of the language spelt in IR: what one node of the typed tree means on plain values.
//!
//! Nothing here knows the typed tree. Functions take values whose shapes the checker has proved to fit.

pub mod broadcast;
pub mod einsum;
pub mod index;
pub mod matmul;
pub mod random;
pub mod reduce;
pub mod window;
pub mod write;
