use proptest::prelude::*;

use super::*;

fn p(i: u32) -> SizeExpr {
    SizeExpr::var(SizeVar::Param(GenericId(i)))
}

fn l(i: u32) -> SizeExpr {
    SizeExpr::var(SizeVar::Local(LocalId(i)))
}

fn k(c: i64) -> SizeExpr {
    SizeExpr::constant(c)
}

struct Letters;

impl SizeNames for Letters {
    fn size_name(&self, var: SizeVar) -> String {
        match var {
            SizeVar::Param(g) => ["n", "m", "d", "h"][g.index() % 4].into(),
            SizeVar::Local(x) => ["i", "j", "k", "b"][x.index() % 4].into(),
            SizeVar::Const(_) | SizeVar::Open(_) | SizeVar::Bound(_) | SizeVar::Infer(_) | SizeVar::Quotient(_) => {
                "?".into()
            }
        }
    }
}

fn shows(e: &SizeExpr, text: &str) {
    assert_eq!(e.show(&Letters), text);
}

#[test]
fn polynomials_have_one_form() {
    let (n, m) = (p(0), p(1));
    assert_eq!(n.add(&m).mul(&n.sub(&m)), n.mul(&n).sub(&m.mul(&m)));
    assert_eq!(n.add(&n), n.scale(2));
    assert!(n.sub(&n).is_zero());
}

#[test]
fn multiples_leave_a_division() {
    let (n, m) = (p(0), p(1));
    assert_eq!(m.mul(&n).add(&m.scale(3)).floor_div(&m), n.add(&k(3)));
    assert_eq!(n.scale(6).add(&k(7)).floor_div(&k(3)), n.scale(2).add(&k(2)));
    assert_eq!(n.scale(2).floor_div(&k(4)), n.floor_div(&k(2)));
    assert_eq!(n.floor_div(&k(2)).floor_div(&k(3)), n.floor_div(&k(6)));
    assert_eq!(n.mul(&m).floor_div(&n.scale(2)), m.floor_div(&k(2)));
    assert!(n.mul(&m).modulo(&m).is_zero());
    let sum = n.add(&k(1));
    assert_eq!(sum.mul(&m).floor_div(&sum), m);
}

#[test]
fn shows_user_syntax() {
    let (n, m) = (p(0), p(1));
    shows(&m.scale(3).add(&k(1)), "3*m + 1");
    shows(&n.sub(&m).add(&k(1)), "n - m + 1");
    shows(&n.neg(), "-n");
    shows(&k(1).sub(&n), "1 - n");
    shows(&k(0), "0");
    shows(&n.floor_div(&k(64)), "n // 64");
    shows(&n.floor_div(&k(64)).scale(64), "64*(n // 64)");
    shows(&n.modulo(&k(64)), "n % 64");
    shows(&n.mul(&m), "n*m");
}

#[test]
fn division_by_zero_is_kept() {
    let e = p(0).floor_div(&k(0));
    assert_eq!(e.eval(&|_| Some(3)), None);
    let _ = k(1).modulo(&k(0));
}

#[test]
fn divisibility_gives_a_product() {
    let (d, h) = (p(2), p(3));
    let mut facts = Facts::default();
    assert!(!facts.equal(&h.mul(&d.floor_div(&h)), &d));
    let mark = facts.mark();
    facts.assume_divides(&h, &d);
    assert!(facts.equal(&h.mul(&d.floor_div(&h)), &d));
    assert!(facts.divides(&h, &d));
    facts.reset(mark);
    assert!(!facts.divides(&h, &d));
}

#[test]
fn a_number_may_be_divided() {
    let h = p(0);
    let mut facts = Facts::default();
    facts.assume_le(&k(0), &h);
    facts.assume_divides(&h, &k(4));
    assert!(facts.equal(&h.mul(&k(4).floor_div(&h)), &k(4)));
    assert!(facts.divides(&h, &k(4)));
    assert!(facts.le(&h, &k(4)) && !facts.le(&h, &k(3)));
    assert!(!facts.divides(&h, &k(6)));
}

#[test]
fn equations_are_used_everywhere() {
    let (n, m, d) = (p(0), p(1), p(2));
    let mut facts = Facts::default();
    facts.assume_eq(&n, &m.add(&k(1)));
    facts.assume_eq(&m, &d.scale(2));
    assert!(facts.equal(&n, &d.scale(2).add(&k(1))));
    assert!(!facts.equal(&n, &d));
}

#[test]
fn inequalities_chain() {
    let (n, m) = (p(0), p(1));
    let (i, b) = (l(0), l(3));
    let mut facts = Facts::default();
    assert!(facts.nonneg(&n.add(&m.scale(2))));
    assert!(!facts.nonneg(&n.sub(&m)));
    assert!(!facts.nonneg(&i));
    facts.assume_le(&m, &n);
    assert!(facts.nonneg(&n.sub(&m)));
    assert!(facts.nonneg(&n.sub(&m).add(&k(1))));
    facts.assume_le(&k(0), &i);
    facts.assume_le(&i, &m.sub(&k(1)));
    assert!(facts.le(&i.add(&k(1)), &n));
    // batches: 0 <= i < n // b, 1 <= b gives i*b + b <= n
    let mut facts = Facts::default();
    facts.assume_le(&k(1), &b);
    facts.assume_le(&k(0), &i);
    facts.assume_le(&i, &n.floor_div(&b).sub(&k(1)));
    assert!(facts.le(&i.mul(&b).add(&b), &n));
    assert!(facts.nonneg(&i.mul(&b)));
}

#[test]
fn floor_division_is_bounded() {
    let n = p(0);
    let facts = Facts::default();
    assert!(facts.le(&n.floor_div(&k(64)).scale(64), &n));
    assert!(facts.nonneg(&n.modulo(&k(64))));
    assert!(facts.le(&n.modulo(&k(64)), &k(63)));
}

/// A random size expression and, in parallel, how to compute it plainly.
#[derive(Clone, Debug)]
enum Tree {
    Const(i64),
    Var(u32),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Div(Box<Tree>, Box<Tree>),
    Rem(Box<Tree>, Box<Tree>),
}

impl Tree {
    fn build(&self) -> SizeExpr {
        match self {
            Tree::Const(c) => k(*c),
            Tree::Var(v) => p(*v),
            Tree::Add(a, b) => a.build().add(&b.build()),
            Tree::Sub(a, b) => a.build().sub(&b.build()),
            Tree::Mul(a, b) => a.build().mul(&b.build()),
            Tree::Div(a, b) => a.build().floor_div(&b.build()),
            Tree::Rem(a, b) => a.build().modulo(&b.build()),
        }
    }

    fn eval(&self, vars: &[i64]) -> Option<i64> {
        Some(match self {
            Tree::Const(c) => *c,
            Tree::Var(v) => vars[*v as usize],
            Tree::Add(a, b) => a.eval(vars)?.checked_add(b.eval(vars)?)?,
            Tree::Sub(a, b) => a.eval(vars)?.checked_sub(b.eval(vars)?)?,
            Tree::Mul(a, b) => a.eval(vars)?.checked_mul(b.eval(vars)?)?,
            Tree::Div(a, b) => arith::floor_div(a.eval(vars)?, b.eval(vars)?)?,
            Tree::Rem(a, b) => {
                let (a, b) = (a.eval(vars)?, b.eval(vars)?);
                a - b * arith::floor_div(a, b)?
            }
        })
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![(-6i64..7).prop_map(Tree::Const), (0u32..3).prop_map(Tree::Var)];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let two = (inner.clone(), inner);
        prop_oneof![
            two.clone().prop_map(|(a, b)| Tree::Add(a.into(), b.into())),
            two.clone().prop_map(|(a, b)| Tree::Sub(a.into(), b.into())),
            two.clone().prop_map(|(a, b)| Tree::Mul(a.into(), b.into())),
            two.clone().prop_map(|(a, b)| Tree::Div(a.into(), b.into())),
            two.prop_map(|(a, b)| Tree::Rem(a.into(), b.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Where the plain computation does not trap or overflow, the normal form has its value.
    #[test]
    fn normal_form_evaluates_alike(tree in trees(), vars in prop::array::uniform3(1i64..9)) {
        if let Some(expected) = tree.eval(&vars) {
            let got = tree.build().eval(&|v| match v {
                SizeVar::Param(g) => Some(vars[g.index()]),
                _ => None,
            });
            // a divisor may vanish in the normal form only if it did in the tree
            prop_assert_eq!(got, Some(expected));
        }
    }

    #[test]
    fn substitution_agrees_with_evaluation(tree in trees(), vars in prop::array::uniform3(1i64..9)) {
        if let Some(expected) = tree.eval(&vars) {
            let closed = tree.build().subst(&|v| match v {
                SizeVar::Param(g) => Some(k(vars[g.index()])),
                _ => None,
            });
            prop_assert_eq!(closed.as_const(), Some(expected));
        }
    }

    /// What is proved holds.
    #[test]
    fn proofs_hold(tree in trees(), vars in prop::array::uniform3(0i64..9)) {
        let e = tree.build();
        if Facts::default().nonneg(&e) && let Some(value) = e.eval(&|v| match v {
            SizeVar::Param(g) => Some(vars[g.index()]),
            _ => None,
        }) && let Some(plain) = tree.eval(&vars) {
            prop_assert_eq!(plain, value);
            prop_assert!(value >= 0, "{:?}", e);
        }
    }

    #[test]
    fn showing_never_panics(tree in trees()) {
        let _ = tree.build().show(&Letters);
    }
}
