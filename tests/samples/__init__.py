"""Code under test, as real files; the first line of each says what bncheck is expected to report."""

from pathlib import Path

FOLDER = Path(__file__).parent


def read(name: str) -> str:
    """Return the source text of a sample, without its first line."""
    return (FOLDER / name).read_text(encoding="utf-8").partition("\n")[2]


def changed(source: str, *pairs: str) -> str:
    """Return a source text with replacements: old, new, old, new, ...; each old text must occur."""
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source, f"{old!r} is not in the source text"
        source = source.replace(old, new)
    return source


LAYERS = read("layers.py")
COMPOSITE = read("composite.py")
ALTERNATIVE = read("alternative.py")
NETWORK = read("network.py")

# Lines of LAYERS that tests replace.
DX = "dx = dxhat / std + dvar * 2 * (x - mu) / N + dmu / N"
DMU = "dmu = np.sum(-dxhat / std, axis=0) + dvar * np.mean(-2 * (x - mu), axis=0)"
VAR = "var = x.var(axis=0)"
STD = "std = np.sqrt(var + eps)"
XHAT = "xhat = (x - mu) / std"

# Without the variance term of dx.
WRONG_LAYERS = changed(LAYERS, DX, DX.replace("dvar", "0 * dvar"))
