//! Files: trees by the dotted paths of their leaves, arrays with sizes that the file decides.

use std::rc::Rc;
use std::sync::Arc;

use tdl_ir::{Dim, Dtype, HostFn, IoOp, Op, Type, Update, ValueId};
use tdl_types::thir::Ty;

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{Leaf, RDim, RTy};
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
        let RTy::Exists(slots, body) = &ty else { return self.load_known(path, renamed, extra, &ty) };
        // the sizes first: each from the first entry that has it as an axis
        let leaves = self.leaves(body)?;
        let names = self.names(&leaves)?;
        let none = self.b.full(0.0, Dtype::I64, &[Dim::Const(0)]);
        let mut witnesses = Vec::with_capacity(slots.len());
        for slot in slots {
            let found = leaves.iter().zip(&names).find_map(|(l, name)| {
                let axis = l.dims.iter().position(|d| *d == RDim::Slot(*slot))?;
                Some((l.dims.len(), axis, name.clone()))
            });
            let Some((rank, axis, name)) = found else {
                return Err(unsupported("loading a size that is no axis of an entry", self.b.span));
            };
            let dims = [Dim::Const(rank as i64)];
            let name = self.b.text(&name);
            let name = self.intern(name);
            let like = self.b.full(0.0, Dtype::I64, &dims);
            let args = vec![path, name, renamed.unwrap_or(none), like];
            let sizes = self.b.inst1(Op::Host(HostFn::EntrySizes), args, Type::tensor(Dtype::I64, dims));
            let axis = self.b.const_i64(axis as i64);
            witnesses.push(self.b.index0(sizes, axis));
        }
        let known = self.at_sizes(body, slots, &witnesses)?;
        let value = self.load_known(path, renamed, extra, &known)?;
        self.pack_as(value, witnesses, slots, body)
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

    fn load_known(&mut self, path: ValueId, renamed: Option<ValueId>, extra: bool, ty: &RTy<'p>) -> R<Val<'p>> {
        let leaves = self.leaves(ty)?;
        if leaves.iter().any(|l| l.slot.is_some()) {
            return Err(unsupported("loading a field with sizes of its own", self.b.span));
        }
        let names = self.names(&leaves)?;
        let types = self.types(&leaves, |_| ValueId(0))?;
        let path = self.text_of(path);
        let args = std::iter::once(path).chain(renamed).collect();
        let values = self.b.inst(Op::Io(IoOp::Load { names, extra }), args, types, Vec::new());
        self.unflatten(ty, &mut values.into_iter())
    }

    /// `read_csv`, `read_npy`: an `i64` per axis, then the tensor; `read_text`: text.
    pub fn read_file(&mut self, env: &Env<'p>, op: IoOp, path: ValueId, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        if matches!(ty, RTy::Str) {
            let text = self.b.inst1(Op::Io(op), vec![path], Type::Str);
            return Ok(Val::Leaf(self.intern(text)));
        }
        let leaves = self.leaves(&ty)?;
        let RTy::Exists(slots, body) = &ty else { return Err(internal("a file decides its own sizes")) };
        let RTy::Tensor(..) = &**body else { return Err(internal("a file holds one tensor")) };
        if leaves.len() != slots.len() + 1 || leaves[slots.len()].dims.len() != slots.len() {
            return Err(internal("a file's sizes are not those of its axes"));
        }
        let first = self.b.next_value(0);
        let types = self.types(&leaves, |k| ValueId(first.0 + k as u32))?;
        let values = self.b.inst(Op::Io(op), vec![path], types, Vec::new());
        self.unflatten(&ty, &mut values.into_iter())
    }
}
