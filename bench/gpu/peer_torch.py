"""PyTorch on the workloads of `workloads.py`: a line of JSON for each, as `bench/run`'s peers print them.

    peer_torch.py --peer torch|torch-compile|torch-graph|cublas|cublas-tf32 --inputs DIR --names a,b --tiny --device cuda|cpu
"""
import argparse, json, math, os, statistics, struct, sys, time

sys.dont_write_bytecode = True
import numpy as np
import torch
import torch.nn.functional as F
from workloads import chosen

p = argparse.ArgumentParser()
p.add_argument("--peer", required=True); p.add_argument("--inputs", required=True); p.add_argument("--names", required=True)
p.add_argument("--tiny", action="store_true"); p.add_argument("--device", default="cuda"); p.add_argument("--seconds", type=float, default=1.0)
a = p.parse_args()
CUDA = a.device.startswith("cuda")
DEV = torch.device(a.device)
COMPILE, GRAPH = a.peer == "torch-compile", a.peer == "torch-graph"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.peer == "cublas-tf32"
jit = (lambda f: torch.compile(f, dynamic=False)) if COMPILE else (lambda f: torch.compile(f, dynamic=False, mode="reduce-overhead")) if GRAPH else (lambda f: f)
finish = torch.cuda.synchronize if CUDA else (lambda: None)


def safetensors(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    return {k: np.frombuffer(data[v["data_offsets"][0]:v["data_offsets"][1]], types[v["dtype"]]).reshape(v["shape"])
            for k, v in head.items() if k != "__metadata__"}


def read(name, file):
    return torch.from_numpy(np.load(os.path.join(a.inputs, name, file + ".npy"))).to(DEV)


def timed(step, k):
    """Seconds of a step, by events on the device where there are some."""
    if not CUDA:
        begin = time.perf_counter()
        for _ in range(k):
            step()
        return (time.perf_counter() - begin) / k
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(k):
        step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3 / k


def measure(step, k=None):
    for _ in range(3):
        step()
    finish()
    k = k or max(1, min(1000, int(0.02 / max(timed(step, 3), 1e-7))))
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < a.seconds and len(times) < 100:
        times.append(timed(step, k))
    return dict(seconds_median=statistics.median(times), seconds_min=min(times))


def digest(x):
    y = x.detach().double().flatten()
    n = y.numel()
    return [y.mean().item(), y.abs().mean().item()] + ([y[0].item(), y[n // 3].item(), y[n - 1].item()] if n > 1 else [])


def call(f, *xs):
    g = jit(f)

    def step():
        with torch.no_grad():
            return g(*xs)
    check = digest(step())
    return step, check, None


def train(params, loss, opt, steps):
    start = {k: v.clone() for k, v in params.items()}
    p = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
    o = opt(list(p.values()))
    f = jit(lambda: loss(p))

    def step():
        o.zero_grad(set_to_none=True)
        if GRAPH:
            torch.compiler.cudagraph_mark_step_begin()
        l = f()
        l.backward()
        o.step()
        return l

    def reset():
        with torch.no_grad():
            for k in p:
                p[k].copy_(start[k])
            for s in o.state.values():
                for v in s.values():
                    if torch.is_tensor(v):
                        v.zero_()
    check = [step().item() for _ in range(6)]
    reset()
    return step, check, steps


fused = dict(fused=True) if CUDA else {}
adam = lambda ps: torch.optim.Adam(ps, lr=1e-3, **fused)
sgdm = lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9, **fused)


def gpt(name, w):
    c = w.constants
    x, y = read(name, "x"), read(name, "y")
    raw = safetensors(os.path.join(a.inputs, name, "model.safetensors"))
    p = {k: torch.from_numpy(v.copy()).to(DEV) for k, v in raw.items()}
    half = "--half" in w.flags
    b, t, d, h = c["BATCH"], c["SEQUENCE"], c["WIDTH"], c["HEADS"]

    def loss(p):
        with torch.autocast(DEV.type, torch.bfloat16, enabled=half):
            z = F.embedding(x, p["tok"]) + p["pos"]
            for l in range(c["LAYERS"]):
                q = lambda n: p[f"blocks.{l}.{n}"]
                # weights are kept as [in, out]
                lin = lambda v, n: v @ q(n + ".weight") + q(n + ".bias")
                u = F.layer_norm(z, (d,), q("n1.gain"), q("n1.bias"))
                Q, K, V = lin(u, "qkv").view(b, t, 3, h, d // h).permute(2, 0, 3, 1, 4)
                u = F.scaled_dot_product_attention(Q, K, V, is_causal=True)
                z = z + lin(u.transpose(1, 2).reshape(b, t, d), "out")
                u = F.layer_norm(z, (d,), q("n2.gain"), q("n2.bias"))
                z = z + lin(F.gelu(lin(u, "up"), approximate="tanh"), "down")
            z = F.layer_norm(z, (d,), p["last.gain"], p["last.bias"]) @ p["head"]
            return F.cross_entropy(z.view(b * t, -1).float(), y.view(-1))
    return train(p, loss, adam, 10)


def build(name, w):
    c, i = w.constants, w.shared or name
    t = lambda n: read(i, n)
    if w.part == "products":
        x, y = t("a"), t("b")
        if "--half" in w.flags:
            x, y = x.bfloat16(), y.bfloat16()
        return call(torch.matmul, x, y)
    if name == "launch_100":
        x, y = t("a"), t("b") * c["K"] ** -0.5

        def chain(x, y):
            for _ in range(c["KERNELS"]):
                x = x @ y
            return x
        return call(chain, x, y)
    if name == "elementwise":
        return call(lambda a, b, c, d: torch.tanh(a * b + c) * torch.sigmoid(d) - 0.5 * a, *map(t, "abcd"))
    if name.startswith("gelu"):
        return call(lambda x: F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none"), t("x"))
    if name == "softmax":
        return call(lambda x: torch.softmax(x, -1), t("x"))
    if name == "logsumexp":
        return call(lambda x: torch.logsumexp(x, -1), t("x"))
    if name == "transpose":
        return call(lambda x: x.t().contiguous(), t("x"))
    if name == "layernorm":
        return call(lambda x, g, b: F.layer_norm(x, (c["D"],), g, b), t("x"), t("g"), t("b"))
    if name == "sum":
        return call(torch.sum, t("x"))
    if name == "sum_columns":
        return call(lambda x: x.sum(0), t("x"))
    if name.startswith("mlp_train"):
        x, y = t("x"), t("y")

        def loss(p):
            z = F.relu(torch.addmm(p["b1"], x, p["w1"]))
            z = F.relu(torch.addmm(p["b2"], z, p["w2"]))
            return F.cross_entropy(torch.addmm(p["b3"], z, p["w3"]), y)
        return train({k: t("p_" + k) for k in ("w1", "b1", "w2", "b2", "w3", "b3")}, loss, adam if name.endswith("adam") else sgdm, 50)
    if name == "cnn_train":
        x, y = t("x"), t("y")

        def loss(p):
            z = F.max_pool2d(F.relu(F.conv2d(x, p["c1"], p["d1"], padding=1)), 2)
            z = F.max_pool2d(F.relu(F.conv2d(z, p["c2"], p["d2"], padding=1)), 2)
            z = F.relu(torch.addmm(p["b1"], z.flatten(1), p["w1"]))
            return F.cross_entropy(torch.addmm(p["b2"], z, p["w2"]), y)
        return train({k: t("p_" + k) for k in ("c1", "d1", "c2", "d2", "w1", "b1", "w2", "b2")}, loss, adam, 10)
    return gpt(i, w)


for name in a.names.split(","):
    w = chosen(a.tiny)[name]
    try:
        if COMPILE or GRAPH:
            torch._dynamo.reset()
        step, check, steps = build(name, w)
        print(json.dumps(dict(measure(step, steps), workload=name, peer=a.peer, check=check)), flush=True)
    except Exception as e:      # one that fails is told, and the others go on
        print(json.dumps(dict(workload=name, peer=a.peer, error=f"{type(e).__name__}: {e}"[:300])), flush=True)
    step = None
    if CUDA:
        torch.cuda.empty_cache()
