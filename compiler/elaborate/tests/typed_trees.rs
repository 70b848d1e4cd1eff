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

fn generic(name: &str, kind: Kind) -> GenericDef {
    GenericDef { name: name.into(), kind, span: Default::default() }
}

/// `struct Line { slope: f64, intercept: f64 }`, `fn loss[n](line: Line, x: f64[n]) -> f64`, and a descent step.
#[test]
fn gradient_of_a_struct_is_a_struct() {
    let field =
        |name: &str| FieldDef { name: name.into(), ty: Ty::F64, state: false, doc: None, span: Default::default() };
    let line = StructDef {
        name: "Line".into(),
        module: ModuleId(0),
        generics: vec![],
        fields: vec![field("slope"), field("intercept")],
        methods: vec![],
        doc: None,
        span: Default::default(),
    };
    let n = SizeExpr::var(SizeVar::Param(GenericId(0)));
    let f = Main::default();
    let line_ty = Ty::Struct(StructId(0), vec![]);
    let (l, x) = (f.local("line", line_ty.clone()), f.local("x", Ty::tensor(Elem::Dtype(F64), [n])));
    let part = |e: Expr, index: usize| expr(ExprKind::Field { base: e.into(), index }, Ty::F64);
    let y = add(mul(f.get(x), part(f.get(l), 0)), part(f.get(l), 1));
    let sum = Builtin::Reduce { op: Reduction::Sum, axes: None, keepdims: false };
    let square = mul(y.clone(), y);
    let loss = builtin(sum, vec![square], Ty::F64);
    let loss = f.function("loss", vec![GenericId(0)], &[l, x], loss);

    let m = Main::default();
    let line_var = m.local("line", line_ty.clone());
    let pair = Ty::Tuple(vec![Ty::F64, line_ty.clone()]);
    let (value, g) = (m.local("value", Ty::F64), m.local("g", line_ty.clone()));
    let three = SizeExpr::constant(3);
    let func = expr(
        ExprKind::Fn { func: FnId(0), generics: vec![GenericArg::Size(three)] },
        Ty::Fn(std::rc::Rc::new(FnTy {
            generics: vec![],
            params: vec![
                FnParam { name: None, ty: line_ty.clone(), mutable: false },
                FnParam { name: None, ty: tensor(F64, &[3]), mutable: false },
            ],
            result: Ty::F64,
            io: false,
        })),
    );
    let d = Derivative {
        kind: DerivativeKind::ValueAndGrad,
        func: func.into(),
        wrt: vec![0],
        wrt_tuple: false,
        aux: false,
    };
    let callee = expr(ExprKind::Derivative(d), Ty::unit());
    let args = vec![Arg::Value(m.get(line_var)), Arg::Value(floats(&[1.0, 2.0, 3.0]))];
    let call = expr(ExprKind::CallValue { callee: callee.into(), args }, pair);
    let step = expr(
        ExprKind::TreeBinary {
            op: tdl_ir::BinaryOp::Sub,
            left: m.get(line_var).into(),
            right: expr(
                ExprKind::TreeBinary { op: tdl_ir::BinaryOp::Mul, left: float(0.5).into(), right: m.get(g).into() },
                line_ty.clone(),
            )
            .into(),
        },
        line_ty.clone(),
    );
    let literal =
        expr(ExprKind::Struct { id: StructId(0), generics: vec![], fields: vec![float(1.0), float(0.0)] }, line_ty);
    let stmts = vec![
        let_(line_var, literal),
        StmtKind::Let { pattern: Pattern::Tuple(vec![Pattern::Local(value), Pattern::Local(g)]), value: call },
        set(m.whole(line_var), step),
        print(vec![m.get(value), m.get(g), m.get(line_var)]),
    ];
    let program = Program {
        generics: vec![generic("n", Kind::Size)],
        structs: vec![line],
        fns: vec![loss],
        ..Program::default()
    };
    // 1 + 4 + 9; by the slope 2 sum(x y), by the intercept 2 sum(y)
    assert_eq!(m.run_with(stmts, program), "14 Line { slope: 28, intercept: 12 } Line { slope: -13, intercept: -6 }\n");
}

/// `fn flip[T: tree, n](set: T[n], rng: mut Rng) -> T[n] = set[rng.permutation(n)]` on a stack of pairs.
#[test]
fn a_stack_is_shuffled_by_a_function_over_trees() {
    let n = SizeExpr::var(SizeVar::Param(GenericId(1)));
    let dims = |n: &SizeExpr| vec![Dim::Size(n.clone())];
    let f = Main::default();
    let set_ty = Ty::stack(dims(&n), Ty::Param(GenericId(0)));
    let (set, rng) = (f.local("set", set_ty.clone()), f.local("rng", Ty::Rng));
    let order = expr(
        ExprKind::Random {
            op: RngOp::Permutation,
            rng: Arg::Place(f.whole(rng)).into(),
            args: vec![expr(ExprKind::Size(n.clone()), Ty::I64)],
        },
        Ty::tensor(Elem::Dtype(I64), [n]),
    );
    let rows = expr(
        ExprKind::Index { base: f.get(set).into(), subscripts: vec![Subscript::Gather { ids: order, proved: true }] },
        set_ty,
    );
    let shuffle = f.function("shuffle", vec![GenericId(0), GenericId(1)], &[set, rng], rows);

    let m = Main::default();
    let rng = m.local("rng", Ty::Rng);
    let pair = Ty::Tuple(vec![Ty::I64, tensor(F64, &[2])]);
    let four = SizeExpr::constant(4);
    let stack = Ty::stack(dims(&four), pair.clone());
    let data = m.local("data", stack.clone());
    let ids = expr(ExprKind::Array((0..4).map(int).collect()), tensor(I64, &[4]));
    let rows = (0..4).map(|i| floats(&[f64::from(i), 0.5])).collect();
    let xs = expr(ExprKind::Array(rows), tensor(F64, &[4, 2]));
    let call = expr(
        ExprKind::Call {
            callee: Callee::Fn(FnId(0)),
            generics: vec![GenericArg::Ty(pair), GenericArg::Size(four)],
            args: vec![
                Arg::Value(expr(ExprKind::StructStack { fields: vec![ids, xs] }, stack.clone())),
                Arg::Place(m.whole(rng)),
            ],
        },
        stack.clone(),
    );
    let first = expr(ExprKind::TupleField { base: m.get(data).into(), index: 0 }, tensor(I64, &[4]));
    let second = expr(ExprKind::TupleField { base: m.get(data).into(), index: 1 }, tensor(F64, &[4, 2]));
    let column = expr(
        ExprKind::Index {
            base: second.into(),
            subscripts: vec![Subscript::Rest, Subscript::Index { index: int(0), proved: true }],
        },
        tensor(F64, &[4]),
    );
    let sum = Builtin::Reduce { op: Reduction::Sum, axes: None, keepdims: false };
    let diff = bin(tdl_ir::BinaryOp::Sub, expr(ExprKind::Convert(first.clone().into()), tensor(F64, &[4])), column);
    let stmts = vec![
        let_(rng, builtin(Builtin::RngNew, vec![int(7)], Ty::Rng)),
        let_(data, call),
        print(vec![builtin(sum.clone(), vec![first], Ty::I64), builtin(sum, vec![mul(diff.clone(), diff)], Ty::F64)]),
    ];
    let program = Program {
        generics: vec![generic("T", Kind::Tree(None)), generic("n", Kind::Size)],
        fns: vec![shuffle],
        ..Program::default()
    };
    assert_eq!(m.run_with(stmts, program), "6 0\n");
}
