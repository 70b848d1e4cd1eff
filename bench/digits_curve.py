#!/usr/bin/env python3
"""Draws docs/images/digits.svg: the test accuracy of examples/digits.tdl after each epoch, for three seeds, and twelve
of the images. Needs only `tdl` (TDL=path) and the data.

    bench/digits_curve.py
"""
import csv, os, re, subprocess, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TDL = os.environ.get("TDL", os.path.join(ROOT, "target/release/tdl"))
SEEDS = [("0", "#1f5f8b"), ("1", "#d1742f"), ("2", "#5b8c3a")]
LEFT, TOP, WIDTH, HEIGHT = 56, 24, 420, 236
LOW = 0.4


def accuracies(seed):
    with tempfile.TemporaryDirectory() as tmp:  # the program saves its model where it runs
        os.symlink(os.path.join(ROOT, "examples"), os.path.join(tmp, "examples"))
        out = subprocess.run([TDL, "run", "examples/digits.tdl", "--", "--seed", seed], cwd=tmp,
                             capture_output=True, text=True, check=True).stdout
    return [float(a) for a in re.findall(r"accuracy ([\d.]+)", out)]


def digit(row, x, y, size):
    """One image of 8×8 grey values."""
    cell = size / 8
    squares = [f'<rect x="{x}" y="{y}" width="{size}" height="{size}" fill="#fff" stroke="#bbb"/>']
    for i in range(64):
        grey = 255 - round(float(row[i]) / 16 * 255)
        if grey < 250:
            squares.append(f'<rect x="{x + i % 8 * cell:g}" y="{y + i // 8 * cell:g}" width="{cell:g}" height="{cell:g}" '
                           f'fill="rgb({grey},{grey},{grey})"/>')
    return "".join(squares)


def main():
    text = 'font-family="Helvetica,Arial,sans-serif" font-size="12" fill="#333"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 310" role="img" '
           f'aria-label="Test accuracy of examples/digits.tdl after each epoch">',
           '<rect width="700" height="310" fill="#fff"/>']
    px = lambda epoch: LEFT + epoch * WIDTH / 19
    py = lambda a: TOP + (1 - a) / (1 - LOW) * HEIGHT
    for a in [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]:
        out.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{py(a):g}" y2="{py(a):g}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{py(a) + 4:g}" text-anchor="end" {text}>{a:.1f}</text>')
    for epoch in [0, 5, 10, 15, 19]:
        out.append(f'<text x="{px(epoch):g}" y="{TOP + HEIGHT + 18}" text-anchor="middle" {text}>{epoch}</text>')
    out.append(f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 38}" text-anchor="middle" {text}>epoch</text>')
    out.append(f'<text x="{LEFT}" y="14" {text}>accuracy on 360 test images</text>')
    out.append(f'<rect x="{LEFT + WIDTH - 156}" y="{TOP + HEIGHT - 76}" width="150" height="66" fill="#fff"/>')
    for k, (seed, colour) in enumerate(SEEDS):
        curve = accuracies(seed)
        points = " ".join(f"{px(e):.1f},{py(a):.1f}" for e, a in enumerate(curve))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + HEIGHT - 62 + 20 * k
        out.append(f'<line x1="{LEFT + WIDTH - 150}" x2="{LEFT + WIDTH - 126}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{LEFT + WIDTH - 118}" y="{y + 4}" {text}>--seed {seed}: {curve[-1]:.3f}</text>')
    with open(os.path.join(ROOT, "examples/data/digits.csv")) as f:
        rows = list(csv.reader(f))[:12]
    for k, row in enumerate(rows):
        x, y = 510 + k % 3 * 60, TOP + k // 3 * 66
        out.append(digit(row, x, y, 48))
        out.append(f'<text x="{x + 24}" y="{y + 60}" text-anchor="middle" {text}>{int(float(row[64]))}</text>')
    out.append("</svg>")
    path = os.path.join(ROOT, "docs/images/digits.svg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")
    print("wrote", os.path.relpath(path, ROOT))


main()
