//! Control flow, calls, derivatives and effects on the world.

use super::Scope;
use super::ops::{BOOL, Check, I64, ascending, count, ensure, same};
use crate::{Block, Dim, Dtype, FuncId, Function, Inst, IoOp, Type, ValueId};

impl<'m> Scope<'m> {
    fn result_types(&self, inst: &Inst) -> Vec<&'m Type> {
        inst.results.iter().map(|r| self.ty(*r)).collect()
    }

    fn region(&self, region: &Block, params: &[&Type], results: &[&Type]) -> Check {
        count("region parameters", region.params.len(), params.len())?;
        for (p, want) in region.params.iter().zip(params) {
            same("a region parameter", self.ty(*p), want)?;
        }
        count("yielded values", region.results.len(), results.len())?;
        for (r, want) in region.results.iter().zip(results) {
            same("a yielded value", self.ty(*r), want)?;
        }
        Ok(())
    }

    fn callee(&self, id: FuncId) -> Result<&'m Function, String> {
        self.module.funcs.get(id.0 as usize).ok_or_else(|| format!("function {} does not exist", id.0))
    }

    pub(super) fn branch(&self, inst: &'m Inst) -> Check {
        let results = self.result_types(inst);
        count("operands", inst.args.len(), 1)?;
        count("regions", inst.regions.len(), 2)?;
        same("the condition", self.arg(inst, 0), &BOOL)?;
        inst.regions.iter().try_for_each(|r| self.region(r, &[], &results))
    }

    pub(super) fn counted_loop(&self, inst: &'m Inst) -> Check {
        let results = self.result_types(inst);
        count("operands", inst.args.len(), 1 + results.len())?;
        count("regions", inst.regions.len(), 1)?;
        same("the trip count", self.arg(inst, 0), &I64)?;
        for (a, want) in inst.args[1..].iter().zip(&results) {
            same("an initial value", self.ty(*a), want)?;
        }
        let mut params = vec![&I64];
        params.extend(&results);
        self.region(&inst.regions[0], &params, &results)
    }

    pub(super) fn while_loop(&self, inst: &'m Inst) -> Check {
        let results = self.result_types(inst);
        count("operands", inst.args.len(), results.len())?;
        count("regions", inst.regions.len(), 2)?;
        for (a, want) in inst.args.iter().zip(&results) {
            same("an initial value", self.ty(*a), want)?;
        }
        self.region(&inst.regions[0], &results, &[&BOOL])?;
        self.region(&inst.regions[1], &results, &results)
    }

    pub(super) fn call(&self, inst: &'m Inst, func: FuncId) -> Check {
        let results = self.result_types(inst);
        count("regions", inst.regions.len(), 0)?;
        let f = self.callee(func)?;
        self.pass(f, &inst.args)?;
        count("results", results.len(), f.results().len())?;
        self.come_back(f, &results)
    }

    pub(super) fn vjp(&self, inst: &'m Inst, func: FuncId, wrt: &[usize]) -> Check {
        let results = self.result_types(inst);
        count("regions", inst.regions.len(), 0)?;
        let f = self.callee(func)?;
        let floats: Vec<&Type> = float_results(f);
        let n = f.params().len();
        count("operands", inst.args.len(), n + floats.len())?;
        self.pass(f, &inst.args[..n])?;
        for (a, want) in inst.args[n..].iter().zip(floats) {
            same("a cotangent", self.ty(*a), want)?;
        }
        let params = self.wrt(f, wrt)?;
        let m = f.results().len();
        count("results", results.len(), m + params.len())?;
        self.come_back(f, &results[..m])?;
        results[m..].iter().zip(params).try_for_each(|(r, want)| same("a cotangent", r, want))
    }

    pub(super) fn jvp(&self, inst: &'m Inst, func: FuncId, wrt: &[usize]) -> Check {
        let results = self.result_types(inst);
        count("regions", inst.regions.len(), 0)?;
        let f = self.callee(func)?;
        let params = self.wrt(f, wrt)?;
        let n = f.params().len();
        count("operands", inst.args.len(), n + params.len())?;
        self.pass(f, &inst.args[..n])?;
        for (a, want) in inst.args[n..].iter().zip(params) {
            same("a tangent", self.ty(*a), want)?;
        }
        let floats = float_results(f);
        let m = f.results().len();
        count("results", results.len(), m + floats.len())?;
        self.come_back(f, &results[..m])?;
        results[m..].iter().zip(floats).try_for_each(|(r, want)| same("a tangent", r, want))
    }

    pub(super) fn vmap(&self, inst: &'m Inst, func: FuncId, mapped: &[usize], uniform: usize) -> Check {
        let results = self.result_types(inst);
        count("regions", inst.regions.len(), 0)?;
        let f = self.callee(func)?;
        let n = f.params().len();
        count("operands", inst.args.len(), n + 1)?;
        same("the number of lanes", self.arg(inst, 0), &I64)?;
        ascending(mapped, n)?;
        let lanes = |ty: &Type| match ty {
            Type::Tensor { dtype, dims } => {
                let mut all = vec![Dim::Val(inst.args[0])];
                all.extend(dims);
                Ok(Type::Tensor { dtype: *dtype, dims: all })
            }
            Type::Str | Type::Stack { .. } => Err("text or a stack has lanes".to_string()),
        };
        for (k, p) in f.params().iter().enumerate() {
            let want = f.ty(*p);
            let got = self.arg(inst, k + 1);
            if mapped.contains(&k) { same("an argument", got, &lanes(want)?)? } else { same("an argument", got, want)? }
        }
        count("results", results.len(), f.results().len())?;
        ensure(uniform <= results.len(), || "more uniform results than there are".into())?;
        for (k, (r, want)) in results.iter().zip(f.results()).enumerate() {
            let want = f.ty(*want);
            if k < uniform {
                same("a size", r, &I64)?;
                same("a size", want, &I64)?
            } else {
                same("a result", r, &lanes(want)?)?
            }
        }
        Ok(())
    }

    fn pass(&self, f: &Function, args: &[ValueId]) -> Check {
        count("arguments", args.len(), f.params().len())?;
        args.iter().zip(f.params()).try_for_each(|(a, p)| same("an argument", self.ty(*a), f.ty(*p)))
    }

    fn come_back(&self, f: &Function, results: &[&Type]) -> Check {
        results.iter().zip(f.results()).try_for_each(|(r, want)| same("a result", r, f.ty(*want)))
    }

    /// The types of the parameters that are differentiated.
    fn wrt<'f>(&self, f: &'f Function, wrt: &[usize]) -> Result<Vec<&'f Type>, String> {
        ascending(wrt, f.params().len())?;
        let types: Vec<&Type> = wrt.iter().map(|i| f.ty(f.params()[*i])).collect();
        ensure(types.iter().all(|t| t.is_float_tensor()), || "a parameter without floats is differentiated".into())?;
        Ok(types)
    }

    pub(super) fn io(&self, inst: &Inst, io: &IoOp) -> Check {
        count("regions", inst.regions.len(), 0)?;
        let path = |n: usize| -> Check {
            count("operands", inst.args.len(), n)?;
            same("the path", self.arg(inst, 0), &Type::Str)
        };
        let results = |n: usize| count("results", inst.results.len(), n);
        match io {
            IoOp::Save { names } => {
                path(1 + names.len())?;
                results(0)?;
                inst.args[1..].iter().try_for_each(|a| self.tensor("a leaf", self.ty(*a)).map(drop))
            }
            IoOp::Load { names, .. } => {
                path(inst.args.len().clamp(1, 2))?;
                results(names.len())?;
                inst.results.iter().try_for_each(|r| self.tensor("a leaf", self.ty(*r)).map(drop))
            }
            IoOp::Exists => {
                path(1)?;
                results(1)?;
                same("the result", self.result(inst, 0), &BOOL)
            }
            IoOp::Clock => {
                self.shape(inst, 0, 1)?;
                same("the result", self.result(inst, 0), &Type::scalar(Dtype::F64))
            }
            IoOp::Progress => {
                self.shape(inst, 2, 0)?;
                self.i64_scalars(&inst.args)
            }
        }
    }
}

fn float_results(f: &Function) -> Vec<&Type> {
    f.results().iter().map(|r| f.ty(*r)).filter(|t| t.is_float_tensor()).collect()
}
