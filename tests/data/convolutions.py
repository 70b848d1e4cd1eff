#!/usr/bin/env python3
"""Writes tests/run/convolutions.tdl: random convolutions and pools with PyTorch's results and gradients (f64).

    tests/data/convolutions.py > tests/run/convolutions.tdl        needs torch
"""
import random

import torch
import torch.nn.functional as F

random.seed(5)
AXES = 3


def wave(n, seed):
    return torch.sin(torch.arange(n, dtype=torch.float64) * 1.7 + seed)


def dims(s):
    return ", ".join(map(str, s))


def digest(t):
    t = t.detach().reshape(-1)
    return f"{t.sum().item():.12f}, {(t * wave(t.numel(), 0.5)).sum().item():.12f}"


def number(shape):
    n = 1
    for s in shape:
        n *= s
    return n


def case(k, call, f, shapes):
    """`call` is the tdl expression, `f` the same in PyTorch."""
    names = "xf"[:len(shapes)]
    xs = [wave(number(s), i + 1.0).reshape(s).requires_grad_() for i, s in enumerate(shapes)]
    y = f(*xs)
    v = wave(y.numel(), 3.0).reshape(y.shape)
    grads = torch.autograd.grad((y * v).sum(), xs)
    lines = [f"fn case{k}() {{"]
    for i, (n, s) in enumerate(zip(names, shapes)):
        lines.append(f"  let {n} = reshape(wave({number(s)}, {i + 1}.0), [{dims(s)}])")
    lines.append(f"  let y: f64[{dims(y.shape)}] = {call}")
    lines.append(f"  same(reshape(y, [{y.numel()}]), {digest(y)})")
    lines.append(f"  let v = reshape(wave({y.numel()}, 3.0), [{dims(y.shape)}])")
    for n, s, g in zip(names, shapes, grads):
        lines.append(f"  let d{n} = grad(|{n}: f64[{dims(s)}]| sum({call} * v))({n})")
        lines.append(f"  same(reshape(d{n}, [{number(s)}]), {digest(g)})")
    lines.append(f'  print("{call}")')
    return lines + ["}", ""]


def out(l, k, stride, padding, dilation):
    return (l + 2 * padding - dilation * (k - 1) - 1) // stride + 1


cases = []
for d in range(1, AXES + 1):
    conv, back = getattr(F, f"conv{d}d"), getattr(F, f"conv_transpose{d}d")
    top, mean = getattr(F, f"max_pool{d}d"), getattr(F, f"avg_pool{d}d")
    for _ in range(7):
        g = random.choice([1, 1, 2, 3])
        a = dict(stride=random.randint(1, 3), padding=random.randint(0, 2), dilation=random.randint(1, 2), groups=g)
        n, c, o = random.randint(1, 3), g * random.randint(1, 2), g * random.randint(1, 3)
        while True:
            l, k = [random.randint(1, 7) for _ in range(d)], [random.randint(1, 4) for _ in range(d)]
            if all(out(a_, b, a["stride"], a["padding"], a["dilation"]) >= 1 for a_, b in zip(l, k)):
                break
        text = ", ".join(f"{p}: {v}" for p, v in a.items())
        cases.append((f"conv{d}d(x, f, {text})", lambda x, f, conv=conv, a=a: conv(x, f, **a), [[n, c, *l], [o, c // g, *k]]))
    for _ in range(3):
        g = random.choice([1, 2])
        a = dict(stride=random.randint(1, 3), padding=random.randint(0, 1), dilation=random.randint(1, 2), groups=g)
        a["output_padding"] = random.randint(0, max(a["stride"], a["dilation"]) - 1)
        n, c, o = random.randint(1, 2), g * random.randint(1, 2), random.randint(1, 3)
        l, k = [random.randint(2, 4) for _ in range(d)], [random.randint(2, 3) for _ in range(d)]
        text = ", ".join(f"{p}: {v}" for p, v in a.items())
        cases.append((f"conv_transpose{d}d(x, f, {text})", lambda x, f, back=back, a=a: back(x, f, **a), [[n, c, *l], [c, o, *k]]))
    for _ in range(3):
        k = random.randint(2, 3)
        a = dict(stride=random.randint(1, 3), padding=random.randint(0, 1), dilation=random.randint(1, 2))
        l = [random.randint(5, 7) for _ in range(d)]
        text = ", ".join(f"{p}: {v}" for p, v in a.items())
        cases.append((f"max_pool{d}d(x, {k}, {text})", lambda x, top=top, k=k, a=a: top(x, k, **a), [[2, 2, *l]]))
    for _ in range(3):
        k = random.randint(2, 3)
        a = dict(stride=random.randint(1, 3), padding=random.randint(0, 1))
        l = [random.randint(3, 7) for _ in range(d)]
        text = ", ".join(f"{p}: {v}" for p, v in a.items())
        cases.append((f"avg_pool{d}d(x, {k}, {text})", lambda x, mean=mean, k=k, a=a: mean(x, k, **a), [[2, 2, *l]]))

print("# convolutions and pooling against PyTorch; written by tests/data/convolutions.py")
names = [f"{n}{d}d" for d in range(1, AXES + 1) for n in ("conv", "conv_transpose", "max_pool", "avg_pool")]
print(f"import conv.{{{', '.join(names)}}}\n")
print("fn wave(n: i64, start: f64) -> f64[n] where 0 <= n = sin(arange(f64[n]) * 1.7 + start)\n")
print("""# sums of all elements, plain and weighted, as PyTorch has them
fn same[n](x: f64[n], plain: f64, weighted: f64) {
  assert allclose(sum(x), plain, rtol: 1e-9, atol: 1e-9), "{sum(x)} is not {plain}"
  let got = sum(x * wave(n, 0.5))
  assert allclose(got, weighted, rtol: 1e-9, atol: 1e-9), "{got} is not {weighted}"
}
""")
for k, (call, f, shapes) in enumerate(cases):
    print("\n".join(case(k, call, f, shapes)))
print("fn main() {")
for k in range(len(cases)):
    print(f"  case{k}()")
print("}")
