//! tdl llvm.
