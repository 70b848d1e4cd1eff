//! From typed trees to what the interpreter prints.

mod build;

use build::*;
use tdl_ir::op::CompareOp;
use tdl_types::thir::*;

/// `for i in 0..10 { if i == 2 { continue }; if i == 5 { break }; s += i }`
#[test]
fn break_and_continue_leave_a_for() {
    let m = Main::default();
    let (s, i) = (m.local("s", Ty::I64), m.local("i", Ty::I64));
    let body = block(
        vec![
            if_stmt(cmp(CompareOp::Eq, m.get(i), int(2)), leave(ExprKind::Continue)),
            if_stmt(cmp(CompareOp::Eq, m.get(i), int(5)), leave(ExprKind::Break)),
            StmtKind::Update { place: m.whole(s), op: tdl_ir::BinaryOp::Add, value: m.get(i) },
        ],
        None,
    );
    let stmts = vec![
        let_(s, int(0)),
        StmtKind::For { index: i, from: int(0), to: int(10), body, remat: None },
        print(vec![m.get(s)]),
    ];
    assert_eq!(m.run(stmts), "8\n");
}

/// A lambda whose loop returns: `|n| { for i in 0..n { if i * i > 20 { return i } }; -1 }`
#[test]
fn return_leaves_a_loop_and_the_function() {
    let m = Main::default();
    let (n, i) = (m.local("n", Ty::I64), m.local("i", Ty::I64));
    let body = block(
        vec![if_stmt(
            cmp(CompareOp::Gt, mul(m.get(i), m.get(i)), int(20)),
            leave(ExprKind::Return(Some(m.get(i).into()))),
        )],
        None,
    );
    let f = m.lambda(
        vec![n],
        block_expr(
            block(vec![StmtKind::For { index: i, from: int(0), to: m.get(n), body, remat: None }], Some(int(-1))),
            Ty::I64,
        ),
    );
    let call = |x: i64| expr(ExprKind::CallValue { callee: f.clone().into(), args: vec![Arg::Value(int(x))] }, Ty::I64);
    let stmts = vec![print(vec![call(10), call(3)])];
    assert_eq!(m.run(stmts), "5 -1\n");
}

/// `if x > 1 { return 2 x }; 3 x` differentiates through the branch taken, with a captured factor.
#[test]
fn gradient_of_a_lambda_that_captures_and_returns_early() {
    let m = Main::default();
    let (x, a) = (m.local("x", Ty::F64), m.local("a", Ty::F64));
    let body = block(
        vec![if_stmt(
            cmp(CompareOp::Gt, m.get(x), float(1.0)),
            leave(ExprKind::Return(Some(mul(m.get(a), m.get(x)).into()))),
        )],
        Some(mul(m.get(x), mul(m.get(x), m.get(x)))),
    );
    let f = m.lambda(vec![x], block_expr(body, Ty::F64));
    let derivative = |f: &Expr, kind| {
        expr(
            ExprKind::Derivative(Derivative {
                kind,
                func: f.clone().into(),
                wrt: vec![0],
                wrt_tuple: false,
                aux: false,
            }),
            f.ty.clone(),
        )
    };
    let g = derivative(&f, DerivativeKind::Grad);
    let gg = derivative(&g, DerivativeKind::Grad);
    let at = |g: &Expr, x: f64| {
        expr(ExprKind::CallValue { callee: g.clone().into(), args: vec![Arg::Value(float(x))] }, Ty::F64)
    };
    let stmts = vec![let_(a, float(7.0)), print(vec![at(&g, 3.0), at(&g, 0.5), at(&gg, 0.5)])];
    assert_eq!(m.run(stmts), "7 0.75 3\n");
}

#[test]
fn jacobian_and_hessian_by_rows() {
    let m = Main::default();
    let x = m.local("x", tensor(F64, &[2]));
    let f = m.lambda(vec![x], mul(m.get(x), m.get(x)));
    let y = m.local("y", tensor(F64, &[2]));
    let cube = mul(m.get(y), mul(m.get(y), m.get(y)));
    let sum = Builtin::Reduce { op: Reduction::Sum, axes: None, keepdims: false };
    let h = m.lambda(vec![y], builtin(sum, vec![cube], Ty::F64));
    let apply = |f: &Expr, kind| {
        let d = Derivative { kind, func: f.clone().into(), wrt: vec![0], wrt_tuple: false, aux: false };
        let callee = expr(ExprKind::Derivative(d), f.ty.clone());
        let args = vec![Arg::Value(floats(&[1.0, 2.0]))];
        expr(ExprKind::CallValue { callee: callee.into(), args }, tensor(F64, &[2, 2]))
    };
    let stmts = vec![print(vec![apply(&f, DerivativeKind::Jacobian)]), print(vec![apply(&h, DerivativeKind::Hessian)])];
    assert_eq!(m.run(stmts), "[[2, 0], [0, 4]]\n[[6, 0], [0, 12]]\n");
}

/// `x[1] = 9; x[0:2] += 1; print(x[ids])`
#[test]
fn places_are_updated_and_gathered() {
    let m = Main::default();
    let x = m.local("x", tensor(F64, &[3]));
    let size = SizeExpr::constant;
    let at = |s: Subscript, ty: Ty| place(x, vec![Projection::Index(vec![s])], ty);
    let ids = expr(ExprKind::Array(vec![int(2), int(1), int(2)]), tensor(I64, &[3]));
    let stmts = vec![
        let_(x, floats(&[1.0, 2.0, 3.0])),
        set(at(Subscript::Index { index: int(1), proved: false }, Ty::F64), float(9.0)),
        StmtKind::Update {
            place: at(
                Subscript::Slice { from: size(0), to: size(2), step: 1, len: size(2), proved: true },
                tensor(F64, &[2]),
            ),
            op: tdl_ir::BinaryOp::Add,
            value: float(1.0),
        },
        StmtKind::Update {
            place: at(Subscript::Gather { ids: ids.clone(), proved: false }, tensor(F64, &[3])),
            op: tdl_ir::BinaryOp::Add,
            value: float(0.5),
        },
        print(vec![
            m.get(x),
            expr(
                ExprKind::Index { base: m.get(x).into(), subscripts: vec![Subscript::Gather { ids, proved: false }] },
                tensor(F64, &[3]),
            ),
        ]),
        print(vec![expr(
            ExprKind::Index {
                base: m.get(x).into(),
                subscripts: vec![Subscript::Index { index: add(int(3), int(0)), proved: false }],
            },
            Ty::F64,
        )]),
    ];
    assert_eq!(m.run(stmts), "[2, 10.5, 4] [4, 10.5, 4]\nindex 3 is out of range: axis 0 has size 3");
}

/// A mask gives an existential, which a loop variable of changing size carries.
#[test]
fn a_variable_of_changing_size_in_a_while() {
    let m = Main::default();
    let some = |k: u32| {
        let v = SizeVar::Bound(k);
        Ty::exists(vec![v], Ty::tensor(Elem::Dtype(F64), [SizeExpr::var(v)]))
    };
    let x = m.local("x", some(1));
    let i = m.local("i", Ty::I64);
    let opened = |name: &str| {
        let o = m.open(name);
        let ty = Ty::tensor(Elem::Dtype(F64), [SizeExpr::var(SizeVar::Open(o))]);
        (expr(ExprKind::Open { value: m.get(x).into(), vars: vec![o] }, ty), o)
    };
    let (a, k) = opened("k");
    let y = m.local("y", a.ty.clone());
    let mask_ty = Ty::tensor(Elem::Dtype(Dtype::Bool), [SizeExpr::var(SizeVar::Open(k))]);
    let mask = expr(ExprKind::Compare { op: CompareOp::Gt, left: m.get(y).into(), right: float(2.0).into() }, mask_ty);
    let rest = expr(ExprKind::Index { base: m.get(y).into(), subscripts: vec![Subscript::Mask { mask }] }, some(2));
    let (shown, _) = opened("n");
    let stmts = vec![
        let_(
            x,
            expr(
                ExprKind::Pack { value: floats(&[1.0, 2.0, 3.0, 4.0]).into(), witnesses: vec![SizeExpr::constant(4)] },
                some(1),
            ),
        ),
        let_(i, int(0)),
        StmtKind::While {
            cond: cmp(CompareOp::Lt, m.get(i), int(2)),
            body: block(
                vec![
                    let_(y, a),
                    set(m.whole(x), rest),
                    StmtKind::Update { place: m.whole(i), op: tdl_ir::BinaryOp::Add, value: int(1) },
                ],
                None,
            ),
            remat: None,
        },
        print(vec![shown]),
    ];
    assert_eq!(m.run(stmts), "[3, 4]\n");
}
