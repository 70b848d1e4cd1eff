//! Library functions that a back end has kernels for become ops of their own.
//!
//! before: func @nn.attention(%q, %k, %v, %causal) composite: "nn.attention" { … products and a softmax … }
//! after:  func @nn.attention(%q, %k, %v, %causal) composite: "nn.attention" { %y, %sums = attention %q, %k, %v, %reach … }
//!
//! Where there are no such kernels, and in dtypes that they don't compute, the functions stay what the library says.

use tdl_ir::{Attrs, BinaryOp, Builder, Dtype, Function, Module, Op, Type, attention};

/// A module in which they are ops; none if there is no such function.
pub fn composites(module: &Module) -> Option<Module> {
    let mut out: Option<Module> = None;
    for id in module.ids() {
        if let Some(f) = attention(module.func(id)) {
            *out.get_or_insert_with(|| module.clone()).func_mut(id) = f;
        }
    }
    out
}

/// `nn.attention`, in a dtype that kernels compute.
fn attention(f: &Function) -> Option<Function> {
    if f.attrs.composite.as_deref() != Some("nn.attention") {
        return None;
    }
    let tensors = f.params().iter().filter(|p| f.ty(**p).rank() > 0);
    let &[q, k, v] = &tensors.copied().collect::<Vec<_>>()[..] else { return None };
    let is_bool = |ty: &Type| ty.rank() == 0 && ty.dtype() == Some(Dtype::Bool);
    let &[causal] = &f.params().iter().copied().filter(|p| is_bool(f.ty(*p))).collect::<Vec<_>>()[..] else {
        return None;
    };
    let dtype = f.ty(q).dtype()?;
    if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16) || f.results().len() != 1 {
        return None;
    }
    let mut b = Builder::new(f.name.clone(), f.span);
    *b.attrs() = Attrs { ..f.attrs.clone() };
    let mut map = crate::clone::Map::default();
    crate::clone::params(&mut b, f, &f.body, &mut map);
    b.span = f.body.insts.last().map_or(f.span, |i| i.span);
    let [q, k, v, causal] = [q, k, v, causal].map(|p| map.get(p));
    let rank = b.rank(q);
    let extent = |b: &mut Builder, x| {
        let d = b.dims(x)[rank - 2];
        b.dim_value(d)
    };
    // without the mask, every query sees all keys
    let (n, m) = (extent(&mut b, q), extent(&mut b, k));
    let shifted = b.binary(BinaryOp::Sub, m, n);
    let reach = b.select(causal, shifted, m);
    let y = map.ty(&b, f.ty(f.results()[0]));
    let sums = attention::sums_type(b.ty(q));
    let results = b.inst(Op::Attention, vec![q, k, v, reach], vec![y, sums], Vec::new());
    Some(b.finish(vec![results[0]]))
}
