//! Draws from generators.

use tdl_ir::{AssertKind, CompareOp, Dim, Op, Type, Update};
use tdl_types::thir::{Arg, Expr, RngOp, Ty};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{RTy, known_all};
use crate::tensor::random::{self, State};
use crate::tensor::{broadcast, index};
use crate::val::Val;
use crate::{R, internal};

impl<'p> Elab<'p> {
    pub fn random(&mut self, env: &mut Env<'p>, op: RngOp, rng: &'p Arg, args: &'p [Expr], ty: &Ty) -> R<Val<'p>> {
        // before the generator is read: they may draw from it too, as in `rng.shuffle(rng.permutation(n))`
        let given = match op {
            RngOp::Bernoulli | RngOp::Randint | RngOp::Shuffle | RngOp::Choice | RngOp::Categorical => {
                self.exprs(env, args)?
            }
            // these have sizes alone, which the type holds
            RngOp::Normal | RngOp::Uniform | RngOp::Permutation | RngOp::Split | RngOp::SplitN => Vec::new(),
        };
        let (place, generator) = match rng {
            Arg::Value(e) => (None, self.expr(env, e)?),
            Arg::Place(p) => {
                let at = self.resolve(env, p)?;
                let v = self.read_place(env, &at)?;
                (Some(at), v)
            }
            Arg::Default => return Err(internal("a draw without a generator")),
        };
        let [key, counter] = generator.tree()? else { return Err(internal("a generator has two parts")) };
        let mut state = State { key: key.leaf()?, counter: counter.leaf()? };
        let value = self.draw(env, op, &mut state, &given, ty)?;
        if let Some(at) = place {
            let next = Val::Tree(vec![Val::Leaf(state.key), Val::Leaf(state.counter)]);
            self.write_place(env, &at, next, Update::Set)?;
        }
        Ok(value)
    }

    fn draw(&mut self, env: &Env<'p>, op: RngOp, rng: &mut State, args: &[Val<'p>], ty: &Ty) -> R<Val<'p>> {
        let arg = |i: usize| args.get(i).cloned().ok_or_else(|| internal("a draw lacks an argument"));
        match op {
            RngOp::Normal | RngOp::Uniform => {
                let ty = self.ty(env, ty)?;
                let leaves = self.leaves(&ty)?;
                let mut ids = Vec::with_capacity(leaves.len());
                for leaf in &leaves {
                    let dims = known_all(&leaf.dims)?;
                    let dtype = leaf.dtype;
                    if !dtype.is_float() {
                        return Err(internal("a draw of no float"));
                    }
                    ids.push(match op {
                        RngOp::Normal => random::normal(&mut self.b, rng, dtype, &dims),
                        _ => random::uniform(&mut self.b, rng, dtype, &dims),
                    });
                }
                self.unflatten(&ty, &mut ids.into_iter())
            }
            RngOp::Bernoulli => {
                let p = arg(0)?.leaf()?;
                let (_, dims) = self.tensor_ty(env, ty)?;
                let p = broadcast::to(&mut self.b, p, &dims);
                Ok(Val::Leaf(random::bernoulli(&mut self.b, rng, p, &dims)))
            }
            RngOp::Randint => {
                let (low, high) = (arg(0)?.leaf()?, arg(1)?.leaf()?);
                let ok = self.compare_sizes(CompareOp::Lt, low, high);
                self.assert(ok, AssertKind::User, "`randint` from {} to {}: there is no such number", &[low, high]);
                let (dtype, dims) = self.tensor_ty(env, ty)?;
                // the range as i64, then to the dtype
                let x = random::randint(&mut self.b, rng, tdl_ir::Dtype::I64, &dims, low, high);
                Ok(Val::Leaf(self.b.convert(x, dtype)))
            }
            RngOp::Permutation => {
                let (_, dims) = self.tensor_ty(env, ty)?;
                Ok(Val::Leaf(random::permutation(&mut self.b, rng, dims[0])))
            }
            RngOp::Shuffle => {
                let x = arg(0)?;
                let n = self.rows_of(&x)?;
                let order = random::permutation(&mut self.b, rng, n);
                x.map(&mut |v| {
                    let dims = self.b.dims(v);
                    let ty = Type::tensor(self.b.dtype(v), dims);
                    Ok(self.b.inst1(Op::Gather, vec![v, order], ty))
                })
            }
            RngOp::Choice => {
                let x = arg(0)?;
                let n = self.rows_of(&x)?;
                let n = self.b.dim_value(n);
                let zero = self.b.const_i64(0);
                let ok = self.compare_sizes(CompareOp::Gt, n, zero);
                self.assert(ok, AssertKind::Index, "`choice` among {} rows", &[n]);
                let i = random::randint(&mut self.b, rng, tdl_ir::Dtype::I64, &[], zero, n);
                x.map(&mut |v| {
                    let items = index::complete(&self.b, &[index::Item::At(i)], self.b.rank(v));
                    Ok(index::read(&mut self.b, v, &items))
                })
            }
            RngOp::Categorical => {
                let logits = arg(0)?.leaf()?;
                Ok(Val::Leaf(random::categorical(&mut self.b, rng, logits)))
            }
            RngOp::Split => {
                let s = random::split(&mut self.b, rng);
                Ok(Val::Tree(vec![Val::Leaf(s.key), Val::Leaf(s.counter)]))
            }
            RngOp::SplitN => {
                let dims = match self.ty(env, ty)? {
                    RTy::Stack(dims, _) => known_all(&dims)?,
                    RTy::Never
                    | RTy::Tensor(..)
                    | RTy::Tuple(_)
                    | RTy::Struct(..)
                    | RTy::Str
                    | RTy::Rng
                    | RTy::Fn
                    | RTy::Exists(..) => return Err(internal("`split(n)` gives a stack")),
                };
                let (keys, counters) = random::split_many(&mut self.b, rng, &dims);
                Ok(Val::Tree(vec![Val::Leaf(keys), Val::Leaf(counters)]))
            }
        }
    }

    fn rows_of(&self, x: &Val<'p>) -> R<Dim> {
        let first = x.leaves().first().and_then(|v| self.b.ty(*v).dims().first().copied());
        first.ok_or_else(|| internal("a value without rows"))
    }
}
