//! Calls that differentiation has left: of functions with a derivative rule of their own, perhaps on many lanes, and of
//! functions that are computed again.

use tdl_ir::{Builder, FuncId, Inst, Op, Type, Update, ValueId};

use super::linearize::{Linearizer, Mode};
use super::tape::{Kind, Lanes, Step, Tan};

impl Linearizer<'_> {
    pub(super) fn call(&mut self, func: FuncId, lanes: Option<Lanes>, i: &Inst) {
        let rule = self.module.func(func).attrs.custom_vjp;
        let operands = &i.args[usize::from(lanes.is_some())..];
        if let (Mode::Forward, Some(rule)) = (self.mode, rule) {
            return self.call_forward(rule, lanes, operands, &i.results);
        }
        let ins: Vec<Option<Tan>> = operands.iter().map(|a| self.tan(*a)).collect();
        let args = self.map.all(operands);
        let results = self.map.all(&i.results);
        let mut outs = Vec::new();
        for r in &i.results {
            let ty = self.b.ty(self.map.get(*r)).clone();
            outs.push(ty.is_float_tensor().then(|| {
                let t = self.top().tape.tangent(ty);
                self.set_tan(*r, t);
                t
            }));
        }
        let kind = match rule {
            Some(rule) => Kind::Custom { rule, lanes, args, results },
            None => {
                let wrt = (0..ins.len()).filter(|k| ins[*k].is_some()).collect();
                Kind::Remat { func, wrt, args, results }
            }
        };
        self.top().tape.steps.push(Step { kind, ins, outs, span: i.span });
    }

    /// Forward mode of a function with a rule: the rule is linear in the cotangents, and its transpose takes tangents of
    /// the parameters to those of the results.
    fn call_forward(&mut self, rule: FuncId, lanes: Option<Lanes>, operands: &[ValueId], results: &[ValueId]) {
        let args = self.map.all(operands);
        let primal = self.map.all(results);
        let floats: Vec<usize> = (0..operands.len()).filter(|k| self.b.ty(args[*k]).is_float_tensor()).collect();
        let mut tangents = Vec::with_capacity(floats.len());
        for k in &floats {
            let tangent = self.tangent(operands[*k]);
            tangents.push(tangent.unwrap_or_else(|| self.b.full_like(0.0, args[*k])));
        }
        let out = match lanes {
            None => forward(self.b, rule, &args, &primal, &tangents),
            Some(lanes) => {
                let n_args = args.len();
                let row = |b: &mut Builder, k: usize, v: ValueId, lane: ValueId| {
                    if k >= n_args || lanes.mapped.contains(&k) { b.index0(v, lane) } else { v }
                };
                let float_results = primal.iter().filter(|v| self.b.ty(**v).is_float_tensor()).copied();
                let float_results: Vec<ValueId> = float_results.collect();
                let inits = float_results.iter().map(|v| self.b.full_like(0.0, *v)).collect();
                self.b.for_loop(lanes.n, inits, |b, lane, carried| {
                    let args: Vec<ValueId> = args.iter().enumerate().map(|(k, v)| row(b, k, *v, lane)).collect();
                    let primal: Vec<ValueId> = primal.iter().map(|v| row(b, n_args, *v, lane)).collect();
                    let tangents: Vec<ValueId> =
                        floats.iter().zip(&tangents).map(|(k, v)| row(b, *k, *v, lane)).collect();
                    let out = forward(b, rule, &args, &primal, &tangents);
                    carried.iter().zip(out).map(|(all, v)| b.update0(*all, lane, v, Update::Set)).collect()
                })
            }
        };
        let float_results: Vec<ValueId> =
            results.iter().filter(|r| self.from.ty(**r).is_float_tensor()).copied().collect();
        for (r, tangent) in float_results.into_iter().zip(out) {
            if self.is_active(r) {
                self.set_tangent(r, tangent);
            }
        }
    }
}

/// The tangents of the float results, from those of the float arguments.
fn forward(b: &mut Builder, rule: FuncId, args: &[ValueId], results: &[ValueId], tangents: &[ValueId]) -> Vec<ValueId> {
    let floats: Vec<ValueId> = results.iter().filter(|v| b.ty(**v).is_float_tensor()).copied().collect();
    let mut operands: Vec<ValueId> = args.iter().chain(results).copied().collect();
    let first = operands.len();
    for v in &floats {
        operands.push(b.full_like(0.0, *v));
    }
    operands.extend(tangents);
    let types: Vec<Type> = tangents.iter().chain(&floats).map(|v| b.ty(*v).clone()).collect();
    let wrt = (first..first + floats.len()).collect();
    b.inst(Op::Vjp { func: rule, wrt }, operands, types, Vec::new()).split_off(tangents.len())
}

/// Emits the cotangents of the float arguments: the rule's results. With lanes, an argument that is the same in all gets the
/// sum over them.
pub(super) fn backward(
    b: &mut Builder,
    rule: FuncId,
    lanes: Option<&Lanes>,
    args: &[ValueId],
    results: &[ValueId],
    cts: &[ValueId],
) -> Vec<(usize, ValueId)> {
    let floats: Vec<usize> = (0..args.len()).filter(|k| b.ty(args[*k]).is_float_tensor()).collect();
    let mut all: Vec<ValueId> = args.iter().chain(results).chain(cts).copied().collect();
    let Some(Lanes { n, mapped }) = lanes else {
        let types = floats.iter().map(|k| b.ty(args[*k]).clone()).collect();
        let back = b.call(rule, all, types);
        return floats.into_iter().zip(back).collect();
    };
    let lane = b.dim(*n);
    let types = floats.iter().map(|k| match (mapped.contains(k), b.ty(args[*k]).clone()) {
        (false, Type::Tensor { dtype, dims }) => {
            Type::Tensor { dtype, dims: std::iter::once(lane).chain(dims).collect() }
        }
        (_, ty) => ty,
    });
    let types = types.collect();
    let with_lanes = mapped.iter().copied().chain(args.len()..all.len()).collect();
    all.insert(0, *n);
    let back = b.inst(Op::Vmap { func: rule, mapped: with_lanes, uniform: 0 }, all, types, Vec::new());
    let mut out = Vec::with_capacity(floats.len());
    for (k, v) in floats.into_iter().zip(back) {
        out.push((k, if mapped.contains(&k) { v } else { b.sum(v, vec![0]) }));
    }
    out
}
