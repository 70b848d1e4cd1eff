//! Derivative rules of one's own (`@vjp`) as functions of the IR.

use std::rc::Rc;

use tdl_ir::{AssertKind, Attrs, BinaryOp, CompareOp, Dim, Dtype, Type, UnaryOp, ValueId};
use tdl_types::thir::{DtypeBound, FnDef, FnId, Kind};

use crate::elab::Elab;
use crate::env::Env;
use crate::rty::{RArg, RDim, RTy, known, known_all};
use crate::tensor::random;
use crate::val::Val;
use crate::{R, internal};

impl<'p> Elab<'p> {
    /// The derivative rule of an instance: the function's parameters, its results and the cotangents of its float results,
    /// to the cotangents of its float parameters.
    pub fn rule(&mut self, name: &str, def: &'p FnDef, rule: FnId, generics: &[RArg<'p>]) -> R<tdl_ir::FuncId> {
        let hidden = &self.program.fns[rule.index()];
        self.function(&format!("{name}.vjp"), hidden.span, Attrs::default(), |this| {
            let mut env = Env::empty(this.no_body);
            let mut all = Vec::with_capacity(generics.len());
            for (g, a) in def.generics.iter().zip(generics) {
                let size_name = Rc::clone(&this.program.generics[g.index()].name);
                let a = this.abstracted(a, &size_name);
                env.generics.insert(*g, a.clone());
                all.push(a);
            }
            let mut args = Vec::with_capacity(hidden.params.len());
            // sizes that are parameters' values are those of the function's own body
            let mut locals = Env::empty(def.body.as_ref().unwrap_or(this.no_body));
            locals.generics = env.generics;
            for p in &def.params {
                let ty = this.ty(&locals, &p.ty)?;
                let v = this.named_params(&p.name, &ty)?;
                locals.set(p.local, v.clone());
                args.push(v);
            }
            let ty = this.ty(&locals, &def.result)?;
            let y = this.named_params("y", &ty)?;
            let dy = y.map(&mut |v| {
                let ty = this.b.ty(v).clone();
                Ok(if ty.is_float_tensor() { this.b.param(ty) } else { v })
            })?;
            let wanted: Vec<Type> =
                args.iter().flat_map(Val::leaves).map(|v| this.b.ty(v).clone()).filter(Type::is_float_tensor).collect();
            args.extend([y, dy]);
            let (result, _) = this.invoke(rule, all, args)?;
            let floats: Vec<ValueId> =
                result.leaves().into_iter().filter(|v| this.b.ty(*v).is_float_tensor()).collect();
            if floats.len() != wanted.len() {
                return Err(internal("a rule gives another number of cotangents than there are parameters"));
            }
            Ok(floats.into_iter().zip(&wanted).map(|(v, t)| this.b.reshape(v, t.dims())).collect())
        })
    }
}

/// How far a rule and finite differences may be apart, and how far these go.
#[derive(Clone, Copy)]
struct Precision {
    step: f64,
    tolerance: f64,
}

const IN_F64: Precision = Precision { step: 1e-5, tolerance: 1e-6 };
const IN_F32: Precision = Precision { step: 1e-2, tolerance: 2e-2 };

impl<'p> Elab<'p> {
    /// The test of a rule: at a random place, along a random direction and for a random cotangent, it agrees with central
    /// differences. Sizes are small, dtype parameters `f64`, trees one tensor. (What asks for an interface is not tested.)
    pub fn check_rule(&mut self, id: FnId) -> R<Val<'p>> {
        let program = self.program;
        let def = &program.fns[id.index()];
        let Some(body) = &def.body else { return Ok(Val::unit()) };
        let mut generics: Vec<RArg<'p>> = Vec::with_capacity(def.generics.len());
        let mut next = 1;
        for g in &def.generics {
            // conditions on sizes hold if all are equal
            next += i64::from(def.clauses.is_empty() || next == 1);
            generics.push(match &program.generics[g.index()].kind {
                Kind::Size => RArg::Size(RDim::Known(Dim::Const(next))),
                Kind::Shape => RArg::Shape(vec![RDim::Known(Dim::Const(next))]),
                Kind::Dtype(DtypeBound::Int) => RArg::Dtype(Dtype::I64),
                Kind::Dtype(DtypeBound::Float | DtypeBound::Num | DtypeBound::Any) => RArg::Dtype(Dtype::F64),
                Kind::Tree(_) => RArg::Ty(RTy::Tensor(Dtype::F64, vec![RDim::Known(Dim::Const(3))])),
                Kind::Interface(..) | Kind::Fn(_) => return Ok(Val::unit()),
            });
        }
        let mut env = Env::empty(body);
        env.generics.extend(def.generics.iter().copied().zip(generics.iter().cloned()));
        let seed = self.b.const_i64(7);
        let mut rng = random::seeded(&mut self.b, seed);
        let (mut args, mut directions) = (Vec::new(), Vec::new());
        for p in &def.params {
            let ty = self.ty(&env, &p.ty)?;
            let leaves = self.leaves(&ty)?;
            let mut values = Vec::with_capacity(leaves.len());
            for leaf in &leaves {
                let Ok(dims) = known_all(&leaf.dims) else { return Ok(Val::unit()) };
                let dtype = leaf.dtype;
                if leaf.text {
                    return Ok(Val::unit());
                }
                values.push(if dtype.is_float() {
                    let direction = random::normal(&mut self.b, &mut rng, dtype, &dims);
                    directions.push(direction);
                    // inside the domains of most functions, and away from their kinks
                    let x = random::uniform(&mut self.b, &mut rng, dtype, &dims);
                    let (half, quarter) = (self.b.full(0.5, dtype, &dims), self.b.full(0.25, dtype, &dims));
                    let x = self.b.mul(x, half);
                    self.b.add(x, quarter)
                } else {
                    self.b.full(if dims.is_empty() { 2.0 } else { 1.0 }, dtype, &dims)
                });
            }
            let v = self.unflatten(&ty, &mut values.into_iter())?;
            env.set(p.local, v.clone());
            args.push(v);
        }
        let narrow = |d: Option<Dtype>| matches!(d, Some(Dtype::F16 | Dtype::Bf16));
        let dtypes: Vec<Option<Dtype>> = directions.iter().map(|v| self.b.ty(*v).dtype()).collect();
        if dtypes.iter().any(|d| narrow(*d)) {
            return Ok(Val::unit());
        }
        let precision = if dtypes.contains(&Some(Dtype::F32)) { IN_F32 } else { IN_F64 };
        let (y, _) = self.invoke(id, generics.clone(), args.clone())?;
        let floats = self.floats(&y);
        let mut cotangents = Vec::with_capacity(floats.len());
        for v in &floats {
            let (dtype, dims) = (self.b.dtype(*v), self.b.dims(*v));
            cotangents.push(random::normal(&mut self.b, &mut rng, dtype, &dims));
        }
        let mut slopes = Vec::with_capacity(2);
        for side in [precision.step, -precision.step] {
            let mut steps = directions.iter();
            let mut moved = Vec::with_capacity(args.len());
            for a in &args {
                moved.push(a.map(&mut |v| match self.b.ty(v).is_float_tensor() {
                    true => {
                        let direction = *steps.next().ok_or_else(|| internal("too few directions"))?;
                        let h = self.b.full_like(side, v);
                        let step = self.b.mul(direction, h);
                        Ok(self.b.add(v, step))
                    }
                    false => Ok(v),
                })?);
            }
            let (y, _) = self.invoke(id, generics.clone(), moved)?;
            let floats = self.floats(&y);
            slopes.push(self.inner_product(&floats, &cotangents));
        }
        let difference = self.b.sub(slopes[0], slopes[1]);
        let width = self.b.full(2.0 * precision.step, Dtype::F64, &[]);
        let numeric = self.b.div(difference, width);

        let func = self.instance(id, &generics)?;
        let Some(rule) = self.module.func(func).attrs.custom_vjp else { return Err(internal("there is no rule")) };
        let mut operands = Vec::new();
        for g in &generics {
            match g {
                RArg::Size(d) => operands.push(known(d)?),
                RArg::Shape(dims) => operands.extend(known_all(dims)?),
                RArg::Dtype(_) | RArg::Ty(_) | RArg::Fn(_) => {}
            }
        }
        let mut operands: Vec<ValueId> = operands.into_iter().map(|d| self.b.dim_value(d)).collect();
        let leaves: Vec<ValueId> = args.iter().flat_map(Val::leaves).collect();
        operands.extend(&leaves);
        operands.extend(y.leaves());
        operands.extend(&cotangents);
        let types = directions.iter().map(|v| self.b.ty(*v).clone()).collect();
        let gradient = self.b.call(rule, operands, types);
        let analytic = self.inner_product(&gradient, &directions);

        let apart = self.b.sub(analytic, numeric);
        let apart = self.b.unary(UnaryOp::Abs, apart);
        let size = self.b.unary(UnaryOp::Abs, numeric);
        let one = self.b.full(1.0, Dtype::F64, &[]);
        let size = self.b.add(size, one);
        let tolerance = self.b.full(precision.tolerance, Dtype::F64, &[]);
        let bound = self.b.mul(size, tolerance);
        let close = self.b.compare(CompareOp::Le, apart, bound);
        // outside the function's domain there is nothing to compare with
        let nowhere = self.b.unary(UnaryOp::IsNan, numeric);
        let ok = self.b.binary(BinaryOp::Or, close, nowhere);
        let message = "along a random direction the rule gives {}, finite differences give {}";
        self.assert(ok, AssertKind::User, message, &[analytic, numeric]);
        Ok(Val::unit())
    }

    fn floats(&self, v: &Val<'p>) -> Vec<ValueId> {
        v.leaves().into_iter().filter(|v| self.b.ty(*v).is_float_tensor()).collect()
    }

    /// In `f64`.
    fn inner_product(&mut self, a: &[ValueId], b: &[ValueId]) -> ValueId {
        let mut total = self.b.full(0.0, Dtype::F64, &[]);
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (self.b.convert(*a, Dtype::F64), self.b.convert(*b, Dtype::F64));
            let product = self.b.mul(a, b);
            let axes = (0..self.b.rank(product)).collect();
            let part = self.b.sum(product, axes);
            total = self.b.add(total, part);
        }
        total
    }
}
