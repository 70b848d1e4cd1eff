"""What the commands of `bench/` share: running processes, reading what programs print, comparing, writing sections of a page."""
import os, re, shlex, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TDL = os.environ.get("TDL") or os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "tdl")
DOCS = os.path.join(ROOT, "docs", "benchmarks.md")


def first_priority():
    """Other work on the machine waits. A session is a scheduler's group, and nice counts within one only."""
    os.setsid()
    try:
        os.nice(-19)
        with open("/proc/self/autogroup", "w") as f:
            f.write("-19")
    except OSError:
        pass


def execute(cmd, env=None, cwd=ROOT, check=True):
    """A process's result, with its wall seconds in `seconds`."""
    begin = time.perf_counter()
    out = subprocess.run(cmd, capture_output=True, text=True, env=env, cwd=cwd, preexec_fn=first_priority)
    out.seconds = time.perf_counter() - begin
    if check and out.returncode:
        sys.exit(f"failed: {shlex.join(cmd)}\n{out.stdout[-500:]}{out.stderr[-2000:]}")
    return out


def measured(text):
    """What `timing.tdl` made a program print."""
    one = lambda word: float(re.search(rf"^{word} (\S+)", text, re.M).group(1))
    return dict(seconds_median=one("median"), seconds_min=one("least"),
                check=[float(x) for line in re.findall(r"^check (.*)", text, re.M) for x in line.split()])


def agree(ours, theirs):
    """The same result: within a thousandth of each number, or of the result's mean magnitude."""
    scale = abs(theirs[1]) if len(theirs) > 1 else 0
    return len(ours) == len(theirs) and all(abs(x - y) <= 1e-3 * max(abs(y), scale) + 1e-6 for x, y in zip(ours, theirs))


def seconds(s):
    return f"{s * 1e6:.3g} µs" if s < 1e-3 else f"{s * 1e3:.3g} ms" if s < 1 else f"{s:.3g} s"


def write_section(path, heading, text):
    """Puts a text (with its heading) in the place of that section of a page, or at its end; `None`: what stands before all sections."""
    try:
        with open(path) as f:
            old = f.read()
    except FileNotFoundError:
        old = ""
    parts = re.split(r"^(?=## )", old, flags=re.M)
    at = next((i for i, p in enumerate(parts) if (i == 0 if heading is None else p.startswith(f"## {heading}\n"))), None)
    if at is None:
        parts.append("")
        at = len(parts) - 1
    parts[at] = text.strip("\n") + "\n"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write("\n".join(p.strip("\n") + "\n" for p in parts if p.strip()))
