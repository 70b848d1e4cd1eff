//! Files: trees by the dotted paths of their leaves, arrays with sizes that the file decides.

use std::sync::Arc;

use tdl_ir::{IoOp, Op, Type, ValueId};
use tdl_types::thir::Ty;

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{Leaf, RTy};
use crate::val::Val;
use crate::{R, internal, unsupported};

impl<'p> Elab<'p> {
    fn names(&self, leaves: &[Leaf]) -> R<Vec<Arc<str>>> {
        let name = |l: &Leaf| {
            if l.dtype.is_none() {
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

    pub fn load(&mut self, env: &Env<'p>, path: ValueId, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        let leaves = self.leaves(&ty)?;
        if leaves.iter().any(|l| l.slot.is_some()) {
            return Err(unsupported("loading what has sizes of its own", self.b.span));
        }
        let names = self.names(&leaves)?;
        let types = self.types(&leaves, |_| ValueId(0))?;
        let values = self.b.inst(Op::Io(IoOp::Load { names }), vec![path], types, Vec::new());
        self.unflatten(&ty, &mut values.into_iter())
    }

    /// `read_csv`, `read_npy`: an `i64` per axis, then the tensor; `read_text`: text.
    pub fn read_file(&mut self, env: &Env<'p>, op: IoOp, path: ValueId, ty: &Ty) -> R<Val<'p>> {
        let ty = self.ty(env, ty)?;
        if matches!(ty, RTy::Str) {
            return Ok(Val::Leaf(self.b.inst1(Op::Io(op), vec![path], Type::Str)));
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
