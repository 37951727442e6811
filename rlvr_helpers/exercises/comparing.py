"""How a result differs from the expected one, in words."""

import numbers
from typing import NamedTuple

import torch
from torch import Tensor

from rlvr_helpers.exercises.words import WORDS


class Verdict(NamedTuple):
    """Whether a value is correct, how near it is in a few words, and where it first differs."""

    correct: bool
    text: str
    detail: str = ""


def verdict_on(
    expected: object, yours: object, tolerance: float, names: tuple[str, ...] = ()
) -> Verdict:
    """Compares tensors, numbers, strings, None, and lists or tuples of them. Instead of a list with
    named items you can give a dict of these names.

    "close" means |difference| <= tolerance * (1 + |expected|). NaN equals NaN. names: what the
    items of a list are called
    """
    if isinstance(yours, dict) and names and yours.keys() == set(names):
        yours = [yours[name] for name in names]
    if kind(expected) != kind(yours):
        plain = not isinstance(expected, (Tensor, list, tuple))
        detail = differs(short(expected), short(yours)) if plain else ""
        return Verdict(False, differs(kind(expected), kind(yours)), detail)
    # Values of one kind, compared as that kind is.
    if isinstance(expected, (list, tuple)):
        return compare_items(expected, yours, tolerance, names=names)
    if isinstance(expected, Tensor):
        return compare_tensors(expected, yours, tolerance)
    if isinstance(expected, numbers.Number):
        near = compare_tensors(
            *(torch.tensor(x, dtype=torch.float64) for x in (expected, yours)), tolerance
        )
    else:
        near = Verdict(expected == yours, WORDS["exact"])
    if near.correct:
        return near
    return Verdict(False, differs(short(expected), short(yours)))


def differs(expected: str, yours: str) -> str:
    """What was expected and what came, in words."""
    return WORDS["expected"].format(expected=expected, yours=yours)


def compare_items(
    expected: list | tuple, yours: list | tuple, tolerance: float, names: tuple[str, ...]
) -> Verdict:
    """The verdict on the first item that differs."""
    if len(expected) != len(yours):
        return Verdict(False, WORDS["items"].format(expected=len(expected), yours=len(yours)))
    names = names or tuple(WORDS["item"].format(i=i) for i in range(len(expected)))
    verdicts = [verdict_on(*pair, tolerance) for pair in zip(expected, yours, strict=True)]
    for name, verdict in zip(names, verdicts, strict=True):
        if not verdict.correct:
            return Verdict(False, f"{name}: {verdict.text}", verdict.detail)
    exact = all(verdict.text == WORDS["exact"] for verdict in verdicts)
    return Verdict(True, WORDS["exact" if exact else "close"])


def compare_tensors(expected: Tensor, yours: Tensor, tolerance: float) -> Verdict:
    """The verdict on a tensor. Its detail shows the first row that differs."""
    if expected.shape != yours.shape:
        shapes = {"expected": list(expected.shape), "yours": list(yours.shape)}
        return Verdict(False, WORDS["shape"].format(**shapes))
    a = expected.detach().to("cpu", torch.float64)
    b = yours.detach().to("cpu", torch.float64)
    # Equal values and pairs of NaN have no distance. Whatever else is not finite is far away.
    distance = torch.where(
        (a == b) | (a.isnan() & b.isnan()),
        0.0,
        (a - b).abs().nan_to_num(nan=torch.inf, posinf=torch.inf),
    )
    incorrect = (distance > tolerance * (1 + a.abs())) | distance.isinf()
    if not incorrect.any():
        return Verdict(True, WORDS["close" if distance.any() else "exact"])
    # How far apart they are, in words.
    if not expected.is_floating_point():
        text = WORDS["places"].format(n=int(incorrect.sum()), all=incorrect.numel())
    elif (b.isnan() & ~a.isnan()).any():
        text = WORDS["nan"]
    else:
        text = WORDS["difference"].format(distance=distance.max())
    if not expected.dim():
        return Verdict(False, text, differs(short(expected), short(yours)))
    # The first incorrect row, from a little before the first difference.
    rows = distance.flatten(1) if a.dim() > 1 else distance[:, None]
    incorrect = incorrect.reshape(len(a), -1)
    row = int(incorrect.any(dim=1).nonzero()[0])
    if expected.is_floating_point():
        text = WORDS["row"].format(text=text, row=int(rows.amax(dim=1).argmax()))
    start = max(0, int(incorrect[row].nonzero()[0]) - 3)
    expected, yours = (
        short(t[row].flatten() if t.dim() > 1 else t[row], start) for t in (expected, yours)
    )
    detail = WORDS["wrong_row"].format(row=row, expected=expected, yours=yours)
    return Verdict(False, text, detail)


def kind(value: object) -> str:
    """What a value is, in the words of a message."""
    if isinstance(value, Tensor):
        # A tensor is told by its dtype.
        if value.is_floating_point():
            return WORDS["floats"]
        if value.dtype == torch.bool:
            return WORDS["booleans"]
        return WORDS["complex" if value.is_complex() else "integers"]
    # A boolean is a number to Python, so it comes first.
    kinds = [(bool, "bool"), (numbers.Real, "number"), (str, "string"), ((list, tuple), "list")]
    for types, word in kinds:
        if isinstance(value, types):
            return WORDS[word]
    return "None" if value is None else WORDS["type"].format(name=type(value).__name__)


def short(value: object, start: int = 0, width: int = 8) -> str:
    """A value in a few characters. Of a row it shows `width` entries from `start` on."""
    if isinstance(value, Tensor) and value.dim():
        dots = ["..."] if start else [], ["..."] if start + width < len(value) else []
        shown = [short(v) for v in value[start : start + width]]
        return f"[{', '.join([*dots[0], *shown, *dots[1]])}]"
    value = value.item() if isinstance(value, Tensor) else value
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def flat(value: object) -> list:
    """The values in nested lists and tuples."""
    if not isinstance(value, (list, tuple)):
        return [value]
    return [leaf for item in value for leaf in flat(item)]


def is_plain(value: object) -> bool:
    """Whether this is a text, a number or None, or a list or tuple of them."""
    return all(item is None or isinstance(item, (str, numbers.Number)) for item in flat(value))


def shown_argument(value: object, limit: int = 40) -> str:
    """An argument of a call. Texts are shown in full, and so are tensors of at most `limit`
    numbers. Larger ones are shown by their shape, and a long list of one value as [value] * n."""
    if isinstance(value, Tensor):
        if value.numel() > limit:
            return f"<tensor of shape {list(value.shape)}>"
        return shown_argument(value.tolist())
    if isinstance(value, (list, tuple)):
        items = [shown_argument(item) for item in value]
        if len(items) > 8 and len(set(items)) == 1:
            return f"[{items[0]}] * {len(items)}"
        return f"[{', '.join(items)}]"
    if isinstance(value, float):
        short = f"{value:.4g}"
        # More digits where four would make another number whole, as 0.99999994 would become 1.
        return f"{value:.8g}" if float(short).is_integer() and float(short) != value else short
    return repr(value) if is_plain(value) else f"<{getattr(value, 'name', type(value).__name__)}>"
