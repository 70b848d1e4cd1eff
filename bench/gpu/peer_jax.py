"""JAX on the workloads of `workloads.py`: a line of JSON for each. Everything is under `jax.jit`, and products of f32 are exact.

    peer_jax.py --inputs DIR --names a,b --tiny --device cuda|cpu
"""
import argparse, json, os, statistics, sys, time

sys.dont_write_bytecode = True
p = argparse.ArgumentParser()
p.add_argument("--peer", default="jax"); p.add_argument("--inputs", required=True); p.add_argument("--names", required=True)
p.add_argument("--tiny", action="store_true"); p.add_argument("--device", default="cuda"); p.add_argument("--seconds", type=float, default=1.0)
a = p.parse_args()
if a.device == "cpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from workloads import chosen

jax.config.update("jax_default_matmul_precision", "highest")
done = jax.block_until_ready
tm = jax.tree_util.tree_map


def safetensors(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64}
    return {k: jnp.asarray(np.frombuffer(data[v["data_offsets"][0]:v["data_offsets"][1]], types[v["dtype"]]).reshape(v["shape"]))
            for k, v in head.items() if k != "__metadata__"}


def read(name, file):
    return jnp.asarray(np.load(os.path.join(a.inputs, name, file + ".npy")))


def digest(x):
    y = np.asarray(x, np.float64).ravel()
    return [float(v) for v in [y.mean(), np.abs(y).mean()] + ([y[0], y[y.size // 3], y[-1]] if y.size > 1 else [])]


def measure(loop, k=None):
    """`loop(k)` does k steps and waits for the last one."""
    def timed(k):
        begin = time.perf_counter()
        loop(k)
        return (time.perf_counter() - begin) / k
    loop(2)
    k = k or max(1, min(1000, int(0.02 / max(timed(3), 1e-7))))
    times, begin = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < a.seconds and len(times) < 100:
        times.append(timed(k))
    return dict(seconds_median=statistics.median(times), seconds_min=min(times))


def call(f, *xs):
    g = jax.jit(f)

    def loop(k):
        for _ in range(k):
            y = g(*xs)
        done(y)
    return loop, digest(g(*xs)), None


def adam(p, g, s, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8):
    m, v, t = s
    t = t + 1
    m = tm(lambda m, g: b1 * m + (1 - b1) * g, m, g)
    v = tm(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
    c1, c2 = 1 - b1 ** t, 1 - b2 ** t
    return tm(lambda p, m, v: p - lr * (m / c1) / (jnp.sqrt(v / c2) + eps), p, m, v), (m, v, t)


def sgdm(p, g, s, lr=0.01, mu=0.9):
    s = tm(lambda b, g: mu * b + g, s, g)
    return tm(lambda p, b: p - lr * b, p, s), s


zeros = lambda p: tm(jnp.zeros_like, p)
ADAM = (lambda p: (zeros(p), zeros(p), jnp.float32(0)), adam)
SGDM = (zeros, sgdm)


def train(params, loss, opt, steps):
    init, update = opt
    grad = jax.value_and_grad(loss)

    def f(s):
        l, g = grad(s[0])
        return update(s[0], g, s[1]), l
    f = jax.jit(f, donate_argnums=0)
    start = lambda: (tm(lambda x: x.copy(), params), init(params))
    state, check = start(), []
    for _ in range(6):
        state, l = f(state)
        check.append(float(l))
    box = [start()]

    def loop(k):
        for _ in range(k):
            box[0], l = f(box[0])
        done((box[0], l))
    return loop, check, steps


def xent(z, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), y[..., None], -1).mean()


def norm(x, g, b):
    y = x.astype(jnp.float32)
    m = y.mean(-1, keepdims=True)
    v = ((y - m) ** 2).mean(-1, keepdims=True)
    return ((y - m) * lax.rsqrt(v + 1e-5) * g + b).astype(x.dtype)


def gpt(name, w):
    c = w.constants
    x, y = read(name, "x"), read(name, "y")
    p = safetensors(os.path.join(a.inputs, name, "model.safetensors"))
    half = "--half" in w.flags
    b, t, d, h = c["BATCH"], c["SEQUENCE"], c["WIDTH"], c["HEADS"]
    mask = jnp.tril(jnp.ones((t, t), bool))

    def loss(p):
        if half:
            p = tm(lambda v: v.astype(jnp.bfloat16), p)
        z = p["tok"][x] + p["pos"]
        for l in range(c["LAYERS"]):
            q = lambda n: p[f"blocks.{l}.{n}"]
            lin = lambda v, n: v @ q(n + ".weight") + q(n + ".bias")
            u = lin(norm(z, q("n1.gain"), q("n1.bias")), "qkv").reshape(b, t, 3, h, d // h)
            if half and a.device != "cpu":
                u = jax.nn.dot_product_attention(u[:, :, 0], u[:, :, 1], u[:, :, 2], is_causal=True, implementation="cudnn").reshape(b, t, d)
            else:
                Q, K, V = jnp.moveaxis(u, (2, 3), (0, 2))
                s = jnp.einsum("bhid,bhjd->bhij", Q, K) * (d // h) ** -0.5
                s = jax.nn.softmax(jnp.where(mask, s, -1e30))
                u = jnp.einsum("bhij,bhjd->bihd", s, V).reshape(b, t, d)
            z = z + lin(u, "out")
            z = z + lin(jax.nn.gelu(lin(norm(z, q("n2.gain"), q("n2.bias")), "up"), approximate=True), "down")
        return xent((norm(z, p["last.gain"], p["last.bias"]) @ p["head"]).astype(jnp.float32).reshape(b * t, -1), y.reshape(-1))
    return train(p, loss, ADAM, 10)


def build(name, w):
    c, i = w.constants, w.shared or name
    t = lambda n: read(i, n)
    if name == "launch_100":
        return call(lambda x, y: lax.fori_loop(0, c["KERNELS"], lambda _, x: x @ y, x), t("a"), t("b") * c["K"] ** -0.5)
    if name == "elementwise":
        return call(lambda a, b, c, d: jnp.tanh(a * b + c) * jax.nn.sigmoid(d) - 0.5 * a, *map(t, "abcd"))
    if name.startswith("gelu"):
        return call(lambda x: jax.nn.gelu(x, approximate=name == "gelu_tanh"), t("x"))
    if name == "softmax":
        return call(lambda x: jax.nn.softmax(x, -1), t("x"))
    if name == "logsumexp":
        return call(lambda x: jax.scipy.special.logsumexp(x, -1), t("x"))
    if name == "transpose":
        return call(lambda x: x.T, t("x"))
    if name == "layernorm":
        return call(norm, t("x"), t("g"), t("b"))
    if name == "sum":
        return call(jnp.sum, t("x"))
    if name == "sum_columns":
        return call(lambda x: x.sum(0), t("x"))
    if name.startswith("mlp_train"):
        x, y = t("x"), t("y")

        def loss(p):
            z = jax.nn.relu(x @ p["w1"] + p["b1"])
            z = jax.nn.relu(z @ p["w2"] + p["b2"])
            return xent(z @ p["w3"] + p["b3"], y)
        return train({k: t("p_" + k) for k in ("w1", "b1", "w2", "b2", "w3", "b3")}, loss, ADAM if name.endswith("adam") else SGDM, 50)
    if name == "cnn_train":
        x, y = t("x"), t("y")
        conv = lambda z, w, b: lax.conv_general_dilated(z, w, (1, 1), "SAME") + b[:, None, None]

        def pool(z):
            n, k, r, s = z.shape
            return z.reshape(n, k, r // 2, 2, s // 2, 2).max((3, 5))

        def loss(p):
            z = pool(jax.nn.relu(conv(x, p["c1"], p["d1"])))
            z = pool(jax.nn.relu(conv(z, p["c2"], p["d2"])))
            z = jax.nn.relu(z.reshape(z.shape[0], -1) @ p["w1"] + p["b1"])
            return xent(z @ p["w2"] + p["b2"], y)
        return train({k: t("p_" + k) for k in ("c1", "d1", "c2", "d2", "w1", "b1", "w2", "b2")}, loss, ADAM, 10)
    return gpt(i, w)


for name in a.names.split(","):
    w = chosen(a.tiny)[name]
    try:
        loop, check, steps = build(name, w)
        print(json.dumps(dict(measure(loop, steps), workload=name, peer=a.peer, check=check)), flush=True)
    except Exception as e:      # one that fails is told, and the others go on
        print(json.dumps(dict(workload=name, peer=a.peer, error=f"{type(e).__name__}: {e}"[:300])), flush=True)
    loop = None
