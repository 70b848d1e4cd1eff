"""The workloads of `bench/gpu`: for each the program, its constants (of the measurement, and tiny ones of the trial), its inputs, and the
least that it computes and moves."""
from dataclasses import dataclass, field


@dataclass
class Workload:
    part: str
    program: str            # a file of bench/gpu or of bench
    inputs: str             # a kind of inputs.tdl, and the constants that are its sizes
    full: dict
    tiny: dict
    flags: str = ""
    bytes: object = None    # of the constants; what is read and written once
    flops: object = None
    tolerance: float = 1e-3 # in which its results agree with a peer's
    shared: str = ""        # the workload that has the same inputs
    peers: tuple = ("torch", "torch-compile", "jax")
    constants: dict = field(default_factory=dict)


M = 1 << 20
WORKLOADS = {}


def add(name, *args, **more):
    WORKLOADS[name] = Workload(*args, **more)


# --- bound by memory: each far larger than the caches
vector, matrix = dict(N=64 * M), dict(N=8192)
few, small = dict(N=5000), dict(N=48)
add("elementwise", "memory", "elementwise", "vectors N", vector, few, bytes=lambda c: 20 * c["N"])
for n in ("gelu_tanh", "gelu_erf"):
    add(n, "memory", n, "vector N", vector, few, bytes=lambda c: 8 * c["N"], shared="gelu_tanh")
add("softmax", "memory", "softmax", "matrix N N", matrix, small, bytes=lambda c: 8 * c["N"] ** 2)
add("logsumexp", "memory", "logsumexp", "matrix N N", matrix, small, bytes=lambda c: 4 * c["N"] ** 2, shared="softmax")
add("transpose", "memory", "transpose", "matrix N N", matrix, small, bytes=lambda c: 8 * c["N"] ** 2, shared="softmax")
add("layernorm", "memory", "layernorm", "matrix N D", dict(N=65536, D=1024), dict(N=16, D=64), bytes=lambda c: 8 * c["N"] * c["D"])
add("sum", "memory", "sum", "uniform N", dict(N=256 * M), few, bytes=lambda c: 4 * c["N"])
add("sum_columns", "memory", "columns", "matrix N D", dict(N=16384, D=8192), dict(N=64, D=48), bytes=lambda c: 4 * c["N"] * c["D"])

# --- products
def product(name, b, m, k, n, kinds):
    many = dict(B=b) if b > 1 else {}
    for kind in kinds:
        half = kind == "bf16"
        add(f"{kind}_{name}", "products", "products" if many else "product", "products B M K N" if many else "product M K N",
            dict(many, M=m, K=k, N=n), dict({"B": 2} if many else {}, M=min(m, 24), K=min(k, 40), N=min(n, 16)),
            flags="--half" if half else "", tolerance=2e-2 if half else 1e-3, shared=f"bf16_{name}",
            flops=lambda c: 2 * c.get("B", 1) * c["M"] * c["K"] * c["N"], peers=("cublas",) if half else ("cublas", "cublas-tf32"))


for size in (8192, 4096, 2048, 1024):
    product(size, 1, size, size, size, ("bf16", "f32"))
product("1x8192x8192", 1, 1, 8192, 8192, ("bf16", "f32"))
product("16x8192x8192", 1, 16, 8192, 8192, ("bf16",))
product("8192x64x8192", 1, 8192, 64, 8192, ("bf16",))
product("64x512x512x512", 64, 512, 512, 512, ("bf16", "f32"))

# --- training steps: the shapes of the CPU's benchmarks, and GPT-2 small
training = ("torch", "torch-compile", "torch-graph", "jax")
tokens = lambda c: c["BATCH"] * c["SEQUENCE"]
gpt_flops = lambda c: 3 * (2 * tokens(c) * (c["LAYERS"] * 12 * c["WIDTH"] ** 2 + c["WIDTH"] * c["VOCABULARY"])
                           + c["LAYERS"] * 4 * tokens(c) * c["SEQUENCE"] * c["WIDTH"])
tiny_gpt = dict(LAYERS=2, WIDTH=16, HEADS=2, SEQUENCE=8, VOCABULARY=11, BATCH=2)
add("gpt2_train", "training", "gpt_train", "gpt", dict(LAYERS=12, WIDTH=768, HEADS=12, SEQUENCE=1024, VOCABULARY=50304, BATCH=8), tiny_gpt,
    flags="--half", flops=gpt_flops, tolerance=2e-2, peers=training)
add("transformer_train", "training", "gpt_train", "gpt", dict(LAYERS=4, WIDTH=256, HEADS=4, SEQUENCE=128, VOCABULARY=65, BATCH=8), tiny_gpt,
    flops=gpt_flops, peers=training)
mlp = dict(BATCH=128, IN=784, H1=512, H2=256)
for n, flags in (("mlp_train_sgdm", ""), ("mlp_train_adam", "--adam")):
    add(n, "training", "mlp", "mlp BATCH IN H1 H2", mlp, dict(BATCH=4, IN=12, H1=8, H2=6), flags=flags, peers=training, shared="mlp_train_sgdm",
        flops=lambda c: 2 * c["BATCH"] * (2 * c["IN"] * c["H1"] + 3 * c["H1"] * c["H2"] + 30 * c["H2"]))
add("cnn_train", "training", "cnn_train", "cnn BATCH SIDE C1 C2 HIDDEN", dict(BATCH=64, SIDE=28, C1=32, C2=64, FLAT=3136, HIDDEN=128),
    dict(BATCH=2, SIDE=8, C1=3, C2=4, FLAT=16, HIDDEN=5), peers=training,
    flops=lambda c: 2 * c["BATCH"] * (c["SIDE"] ** 2 * 9 * (2 * c["C1"] + 3 * c["C1"] * c["C2"] / 4) + 3 * c["FLAT"] * c["HIDDEN"]))

# --- a step of many short kernels
add("launch_100", "launch", "launches", "product M K N", dict(M=64, K=64, N=64, KERNELS=100), dict(M=8, K=8, N=8, KERNELS=10),
    peers=("torch", "torch-graph", "jax"))


def chosen(tiny):
    """All workloads with the constants of the measurement, or of the trial."""
    for w in WORKLOADS.values():
        w.constants = w.tiny if tiny else w.full
    return WORKLOADS
