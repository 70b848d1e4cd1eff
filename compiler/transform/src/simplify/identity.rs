//! Contractions with a unit matrix, with which every Jacobian begins: the sum has one term.
//!
//! before: %3 = mul (expand %unit) (expand %s)   %4 = contract %3, %w, "bij,kj->bik"
//! after:  %4 = contract %s, %w, "bi,ki->bik"
//!
//! The terms that go are zero times something; where that is infinite or NaN the result is better than it was.

use tdl_ir::{Builder, CompareOp, Dim, Op, Type, ValueId};

use super::Simplifier;

impl Simplifier {
    /// `args[0]` holds a unit matrix between a label that is summed with the other operand and one that this has not.
    pub(super) fn unit_contract(
        &mut self,
        b: &mut Builder,
        [mine, others]: [&[u8]; 2],
        out: &[u8],
        args: [ValueId; 2],
        ty: &Type,
    ) -> Option<ValueId> {
        let (i, j, factor) = match self.unit(b, args[0]) {
            Some((i, j)) => (i, j, None),
            None => self.scaled_unit(b, args[0])?,
        };
        // `i` stays, `j` is summed
        let summed = |k: usize| others.contains(&mine[k]) && !out.contains(&mine[k]);
        let kept = |k: usize| out.contains(&mine[k]) && !others.contains(&mine[k]);
        let (i, j) = if kept(i) && summed(j) {
            (i, j)
        } else if kept(j) && summed(i) {
            (j, i)
        } else {
            return None;
        };
        let relabel = |l: u8| if l == mine[j] { mine[i] } else { l };
        let rhs: Vec<u8> = others.iter().map(|l| relabel(*l)).collect();
        let (x, lhs) = match factor {
            Some((s, stretched)) => {
                // along the diagonal it is a tensor without one of the two axes
                if stretched.contains(&i) == stretched.contains(&j) {
                    return None;
                }
                let own = (0..mine.len()).filter(|k| !stretched.contains(k));
                (s, own.map(|k| relabel(mine[k])).collect::<Vec<u8>>())
            }
            None => {
                // nothing but the unit: the other operand, repeated along what only the unit has
                let known = |l: &u8| rhs.contains(l);
                if out.iter().any(|l| !known(l) && !mine.contains(l)) || rhs.iter().any(|l| !out.contains(l)) {
                    return None;
                }
                return Some(self.stretch_to(b, &rhs, out, args[1], ty));
            }
        };
        let covered = out.iter().all(|l| lhs.contains(l) || rhs.contains(l));
        let paired = lhs.iter().all(|l| rhs.contains(l) || out.contains(l))
            && rhs.iter().all(|l| lhs.contains(l) || out.contains(l));
        (covered && paired)
            .then(|| self.emit(b, Op::Contract { lhs, rhs, out: out.to_vec() }, vec![x, args[1]], ty.clone()))
    }

    /// The axes between which a tensor is a unit matrix, repeated along the others.
    fn unit(&self, b: &Builder, v: ValueId) -> Option<(usize, usize)> {
        let (op, args) = self.def(v)?;
        match op {
            Op::Expand { axes } => {
                let (i, j) = self.unit(b, args[0])?;
                let kept: Vec<usize> = (0..b.rank(v)).filter(|k| !axes.contains(k)).collect();
                Some((kept[i], kept[j]))
            }
            Op::Convert => match self.def(args[0])? {
                (Op::Compare(CompareOp::Eq), sides) => {
                    let (i, j) = (self.index(b, sides[0])?, self.index(b, sides[1])?);
                    let dims: Vec<Dim> = b.dims(v);
                    (i != j && dims[i] == dims[j]).then_some((i, j))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The axis whose index each element is.
    fn index(&self, b: &Builder, v: ValueId) -> Option<usize> {
        let (Op::Expand { axes }, from) = self.def(v)? else { return None };
        let (Op::Iota, _) = self.def(from[0])? else { return None };
        (0..b.rank(v)).find(|k| !axes.contains(k))
    }

    /// A unit matrix times a tensor that is repeated: axes of the unit, the tensor, and the axes along which it is repeated.
    #[allow(clippy::type_complexity)]
    fn scaled_unit(&self, b: &Builder, v: ValueId) -> Option<(usize, usize, Option<(ValueId, Vec<usize>)>)> {
        let (Op::Binary(tdl_ir::BinaryOp::Mul), sides) = self.def(v)? else { return None };
        for (unit, factor) in [(sides[0], sides[1]), (sides[1], sides[0])] {
            if let Some((i, j)) = self.unit(b, unit)
                && let Some((Op::Expand { axes }, from)) = self.def(factor)
            {
                return Some((i, j, Some((from[0], axes.clone()))));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_sum_with_a_unit_matrix_has_one_term() {
        let text = "func @f(%s: f32[2, 4], %w: f32[3, 4]) {
  %n: i64[4] = iota
  %r: i64[4, 4] = expand %n, axes: [1]
  %c: i64[4, 4] = expand %n, axes: [0]
  %same: bool[4, 4] = eq %r, %c
  %unit: f32[4, 4] = convert %same
  %u: f32[2, 4, 4] = expand %unit, axes: [0]
  %t: f32[2, 4, 4] = expand %s, axes: [1]
  %x: f32[2, 4, 4] = mul %u, %t
  %y: f32[2, 4, 3] = contract %x, %w, \"bij,kj->bik\"
  return %y
}
";
        let mut module = tdl_ir::parse(text).expect("it parses");
        let before = module.clone();
        super::super::derived(&mut module.funcs[0]);
        crate::dce::function(&mut module.funcs[0]);
        tdl_ir::verify(&module).expect("it verifies");
        let out = tdl_ir::print(&module);
        assert!(!out.contains("contract") && !out.contains("iota"), "{out}");
        let run = |m: &tdl_ir::Module| {
            use tdl_ir::interp::{Interp, PlainHost, Tensor};
            let wave = |shape: &[usize]| {
                let n = shape.iter().product::<usize>();
                Tensor::from_floats(tdl_ir::Dtype::F32, shape.to_vec(), (0..n).map(|k| (k as f64 * 1.7).sin())).into()
            };
            let args = vec![wave(&[2, 4]), wave(&[3, 4])];
            Interp::new(m).run(tdl_ir::FuncId(0), args, &mut PlainHost::default()).expect("it runs")
        };
        assert_eq!(run(&before), run(&module));
    }
}
