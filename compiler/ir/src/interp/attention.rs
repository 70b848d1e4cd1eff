//! Attention by its definition.

use super::Tensor;
use crate::{Builder, Dim, Module, Op, Type};

/// A module whose first function is the op on tensors of these shapes.
pub fn defined(op: &Op, args: &[&Tensor]) -> Option<Module> {
    let mut b = Builder::new(op.name(), tdl_source::Span::default());
    let params = args.iter().map(|t| {
        let dims: Vec<Dim> = t.shape.iter().map(|n| Dim::Const(*n as i64)).collect();
        b.param(Type::tensor(t.dtype, dims))
    });
    let params: Vec<_> = params.collect();
    let values = crate::attention::expand(&mut b, op, &params)?;
    let mut module = Module::default();
    module.add(b.finish(values));
    Some(module)
}
