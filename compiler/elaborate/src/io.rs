//! Files: trees by the dotted paths of their leaves, arrays with sizes that the file decides.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tdl_ir::{BinaryOp, Dim, Dtype, HostFn, IoOp, Op, Type, Update, ValueId};
use tdl_types::thir::{SizeExpr, SizeVar, Ty};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{Leaf, RDim};
use crate::val::{Argument, Closure, Val};
use crate::{R, internal, unsupported};

impl<'p> Elab<'p> {
    fn names(&self, leaves: &[Leaf]) -> R<Vec<Arc<str>>> {
        let name = |l: &Leaf| {
            if l.text {
                return Err(unsupported("text in a saved file", self.b.span));
            }
            let path: Vec<&str> = l.path.iter().map(|p| &**p).collect();
            Ok(Arc::from(if path.is_empty() { "value".to_string() } else { path.join(".") }))
        };
        leaves.iter().filter(|l| l.slot.is_none()).map(name).collect()
    }

    pub fn save(&mut self, env: &Env<'p>, path: ValueId, x: &Val<'p>, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        let names = self.names(&leaves)?;
        let mut args = vec![path];
        let mut values = Vec::new();
        x.map(&mut |v| {
            values.push(v);
            Ok(v)
        })?;
        args.extend(values);
        self.b.inst(Op::Io(IoOp::Save { names }), args, Vec::new(), Vec::new());
        Ok(Val::unit())
    }

    pub fn load(
        &mut self,
        env: &Env<'p>,
        path: ValueId,
        rename: Option<Rc<Closure<'p>>>,
        extra: bool,
        ty: &Ty,
    ) -> R<Val<'p>> {
        let renamed = match rename {
            Some(f) => Some(self.renamed(path, &f)?),
            None => None,
        };
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        let names = self.names(&leaves)?;
        // the sizes first: each from the first entry that tells it
        let none = self.b.full(0.0, Dtype::I64, &[Dim::Const(0)]);
        let mut known: HashMap<usize, ValueId> = HashMap::new();
        let entry: Vec<usize> = (0..leaves.len()).filter(|i| leaves[*i].slot.is_none()).collect();
        let witnesses = self.witnesses(&leaves, &mut |this, leaf, axis| {
            let sizes = match known.get(&leaf) {
                Some(sizes) => *sizes,
                None => {
                    let at = entry.iter().position(|i| *i == leaf).ok_or_else(|| internal("no entry"))?;
                    let name = this.b.text(&names[at]);
                    let name = this.intern(name);
                    let dims = [Dim::Const(leaves[leaf].dims.len() as i64)];
                    let like = this.b.full(0.0, Dtype::I64, &dims);
                    let args = vec![path, name, renamed.unwrap_or(none), like];
                    this.b.inst1(Op::Host(HostFn::EntrySizes), args, Type::tensor(Dtype::I64, dims))
                }
            };
            known.insert(leaf, sizes);
            let axis = this.b.const_i64(axis as i64);
            Ok(this.b.index0(sizes, axis))
        })?;
        let at = |i: usize| witnesses[i].unwrap_or(none);
        let types = self.types(&leaves, at)?;
        let types = entry.iter().map(|i| types[*i].clone()).collect();
        let path = self.text_of(path);
        let args = std::iter::once(path).chain(renamed).collect();
        let mut values = self.b.inst(Op::Io(IoOp::Load { names, extra }), args, types, Vec::new()).into_iter();
        let mut all = Vec::with_capacity(leaves.len());
        for w in witnesses {
            all.extend(w.or_else(|| values.next()));
        }
        self.unflatten(&ty, &mut all.into_iter())
    }

    /// The values of the witnesses among the leaves, from the sizes of the others: `size` gives that of an axis of a leaf. An
    /// axis `2 * n + 1` tells `n` too; whether it does so without rest is found out when the leaf is compared with its type.
    fn witnesses(
        &mut self,
        leaves: &[Leaf],
        size: &mut dyn FnMut(&mut Self, usize, usize) -> R<ValueId>,
    ) -> R<Vec<Option<ValueId>>> {
        // as everywhere, a slot is the nearest witness before
        let witness = |i: usize, slot: u32| leaves[..i].iter().rposition(|l| l.slot == Some(slot));
        let axis = |w: usize| {
            leaves.iter().enumerate().find_map(|(i, l)| {
                let axis = l.dims.iter().position(|d| matches!(d, RDim::Slot(k) if witness(i, *k) == Some(w)))?;
                Some((i, axis))
            })
        };
        let mut out: Vec<Option<ValueId>> = vec![None; leaves.len()];
        let open: Vec<usize> = (0..leaves.len()).filter(|i| leaves[*i].slot.is_some()).collect();
        for w in &open {
            if leaves[*w].expr.is_none()
                && let Some((leaf, axis)) = axis(*w)
            {
                out[*w] = Some(size(self, leaf, axis)?);
            }
        }
        // what the others are made of is either known, or the one unknown of a sum
        loop {
            let mut progress = false;
            for w in open.iter().copied().filter(|w| leaves[*w].expr.is_some()) {
                let Some(e) = leaves[w].expr.clone() else { continue };
                if out[w].is_some() {
                    continue;
                }
                let mut vars = Vec::with_capacity(e.vars.len());
                let mut unknown = Vec::new();
                for (var, d) in &e.vars {
                    let value = match d {
                        RDim::Slot(k) => witness(w, *k).map(|i| (i, out[i])),
                        RDim::Known(_) | RDim::Expr(_) => None,
                    };
                    match value {
                        Some((_, Some(v))) => vars.push((*var, RDim::Known(self.b.dim(v)))),
                        Some((i, None)) => unknown.push((i, *var)),
                        None => vars.push((*var, d.clone())),
                    }
                }
                match unknown[..] {
                    [] => out[w] = Some(self.compute_value(&e.expr, &vars)?),
                    [(i, var)] => {
                        let (Some((factor, rest)), Some((leaf, axis))) = (linear(&e.expr, var), axis(w)) else {
                            continue;
                        };
                        let size = size(self, leaf, axis)?;
                        let (factor, rest) = (self.compute_value(&factor, &vars)?, self.compute_value(&rest, &vars)?);
                        let (zero, one) = (self.b.const_i64(0), self.b.const_i64(1));
                        let factor = self.b.size_binary(BinaryOp::Max, factor, one);
                        let left = self.b.size_binary(BinaryOp::Sub, size, rest);
                        let quotient = self.b.size_binary(BinaryOp::FloorDiv, left, factor);
                        out[i] = Some(self.b.size_binary(BinaryOp::Max, quotient, zero));
                    }
                    _ => continue,
                }
                progress = true;
            }
            if !progress {
                break;
            }
        }
        if open.iter().any(|w| out[*w].is_none()) {
            return Err(unsupported("reading a size that no axis of what is read tells", self.b.span));
        }
        Ok(out)
    }

    /// The own names of a file's entries.
    fn renamed(&mut self, path: ValueId, f: &Rc<Closure<'p>>) -> R<ValueId> {
        let n = self.b.next_value(0);
        let types = vec![Type::scalar(Dtype::I64), Type::tensor(Dtype::I64, [Dim::Val(n)])];
        let names = self.b.inst(Op::Host(HostFn::EntryNames), vec![path], types, Vec::new())[1];
        let init = self.b.full(0.0, Dtype::I64, &[Dim::Val(n)]);
        let ty = self.b.ty(init).clone();
        self.open_region();
        let i = self.b.param(Type::scalar(Dtype::I64));
        let all = self.b.param(ty.clone());
        let name = self.b.index0(names, i);
        let argument = Argument { val: Val::Leaf(name), active: Rc::from([false]) };
        let (own, _) = self.apply(f, vec![argument])?;
        let own = own.leaf()?;
        let next = self.b.update0(all, i, own, Update::Set);
        let region = self.close_region(vec![next]);
        Ok(self.b.inst(Op::For, vec![n, init], vec![ty], vec![region])[0])
    }

    /// An array of a file: an `i64` per axis, then the tensor. What the type knows beforehand is checked while it is read.
    pub fn read_array(&mut self, env: &Env<'p>, func: HostFn, mut args: Vec<ValueId>, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        let Some((tensor, slots)) = leaves.split_last() else { return Err(internal("nothing is read")) };
        if tensor.slot.is_some() || tensor.text || slots.iter().any(|l| l.slot.is_none()) {
            return Err(internal("a file holds one tensor"));
        }
        let rank = tensor.dims.len();
        let mut want = Vec::with_capacity(rank);
        for d in &tensor.dims {
            want.push(match d {
                RDim::Known(d) => self.b.dim_value(*d),
                RDim::Slot(_) | RDim::Expr(_) => self.b.const_i64(-1),
            });
        }
        let (path, entry) = (args[0], if func == HostFn::ReadNpz { Some(args[1]) } else { None });
        let want = self.numbers(&want);
        let like = self.b.full(0.0, tensor.dtype, &[Dim::Const(0)]);
        args.extend([want, like]);
        let first = self.b.next_value(0);
        let dims: Vec<Dim> = tensor
            .dims
            .iter()
            .enumerate()
            .map(|(i, d)| match d {
                RDim::Known(d) => *d,
                RDim::Slot(_) | RDim::Expr(_) => Dim::Val(ValueId(first.0 + i as u32)),
            })
            .collect();
        let mut types = vec![Type::scalar(Dtype::I64); rank];
        types.push(Type::tensor(tensor.dtype, dims.clone()));
        let results = self.b.inst(Op::Host(func), args, types, Vec::new());
        let x = results[rank];
        let mut all: Vec<ValueId> =
            self.witnesses(&leaves, &mut |_, _, axis| Ok(results[axis]))?.into_iter().flatten().collect();
        let at = |i: usize| all[i];
        let wanted = self.types(&leaves, at)?.pop().ok_or_else(|| internal("nothing is read"))?;
        let wanted = wanted.dims().to_vec();
        if wanted != dims {
            // an axis that the type makes of another's size
            let entry = match entry {
                Some(e) => e,
                None => {
                    let empty = self.b.text("");
                    self.intern(empty)
                }
            };
            let sizes: Vec<ValueId> = wanted.iter().map(|d| self.b.dim_value(*d)).collect();
            let (found, sizes) = (self.numbers(&results[..rank]), self.numbers(&sizes));
            let like = self.b.full(0.0, tensor.dtype, &[Dim::Const(0)]);
            self.b.inst(Op::Host(HostFn::CheckArray), vec![path, entry, found, sizes, like], Vec::new(), Vec::new());
        }
        all.push(self.b.reshape(x, &wanted));
        self.unflatten(&ty, &mut all.into_iter())
    }

    pub fn write_npz(&mut self, env: &Env<'p>, path: ValueId, x: &Val<'p>, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        let mut names = Vec::new();
        for name in self.names(&leaves)? {
            let name = self.b.text(&name);
            names.push(self.intern(name));
        }
        let mut args = vec![path, self.numbers(&names)];
        x.map(&mut |v| {
            args.push(v);
            Ok(v)
        })?;
        self.b.inst(Op::Host(HostFn::WriteNpz), args, Vec::new(), Vec::new());
        Ok(Val::unit())
    }

    /// A vector of `i64`s.
    fn numbers(&mut self, items: &[ValueId]) -> ValueId {
        let dims = [Dim::Const(items.len() as i64)];
        let mut out = self.b.full(0.0, Dtype::I64, &dims);
        for (i, x) in items.iter().enumerate() {
            let i = self.b.const_i64(i as i64);
            out = self.b.update0(out, i, *x, Update::Set);
        }
        out
    }
}

/// `factor` and `rest` of a size that is `factor * var + rest`.
fn linear(e: &SizeExpr, var: SizeVar) -> Option<(SizeExpr, SizeExpr)> {
    let zero = SizeExpr::constant(0);
    let at = |n: i64| e.subst(&|v| (v == var).then(|| SizeExpr::constant(n)));
    let rest = at(0);
    let factor = at(1).sub(&rest);
    // what a quotient of the unknown is made of does not come back
    let whole = factor.mul(&SizeExpr::var(var)).sub(e).neg().sub(&rest);
    (whole == zero && factor != zero).then_some((factor, rest))
}
