"""Parts of a model, which regimes name, and the patterns of parameter names behind them.

What the parameters of a family of models are called stands in parts.json, and nowhere else before
there is a model: the patterns of each part; of a layer, ``{i}`` standing for its index from 0, or
for ``{last}``; and parameters that are known, by which to tell what patterns train.
"""

import difflib
import fnmatch
import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keygenes.core.errors import input_error

LAYER = re.compile(r"layer\.([1-9]\d*|last)")
MOST_LAYERS = 200  # of any model, where none is at hand to count them


@functools.cache
def names() -> dict[str, Any]:
    """Return the content of parts.json."""
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def layer_pattern(index: int | str) -> str:
    """Return the pattern of a layer's parameters, by its index from 0, or '{last}'."""
    return names()["layer"].replace("{i}", str(index))


def patterns_of(items: Iterable[str]) -> list[str]:
    """Return the patterns of parameter names that parts stand for, in their order.

    Parameters
    ----------
    items : list of str
        Parts (``head``, ``layer.last``, ``layer.1``, ``all``) or patterns of parameter names;
        ``!`` in front takes out again.
    """
    found = []
    for item in items:
        part, sign = item.removeprefix("!"), "!" if item.startswith("!") else ""
        if layer := LAYER.fullmatch(part):
            index = "{last}" if layer[1] == "last" else int(layer[1]) - 1
            patterns = [layer_pattern(index)]
        else:
            patterns = names()["parts"].get(part, [part])
        found += [sign + pattern for pattern in patterns]
    return found


def part_of(pattern: str) -> str | None:
    """Return the part whose only pattern this is, layers from 1; None where there is none."""
    before, after = map(re.escape, names()["layer"].split("{i}"))
    if layer := re.fullmatch(rf"{before}(\d+|\{{last\}}){after}", pattern):
        return "layer.last" if layer[1] == "{last}" else f"layer.{int(layer[1]) + 1}"
    return next((part for part, own in names()["parts"].items() if own == [pattern]), None)


def check_parts(items: Iterable[str], where: str) -> None:
    """Raise an `InputError` if an item is neither a part nor may be a pattern of names."""
    for item in items:
        part = item.removeprefix("!")
        if part in names()["parts"] or LAYER.fullmatch(part):
            continue
        if set(part) & set(".*?[") and not part.startswith("layer."):
            continue
        near = difflib.get_close_matches(part, [*names()["parts"], "layer.last", "layer.1"], 1)
        raise input_error(
            where,
            found=f"'{item}'",
            expected=f"a part of the model ({', '.join(names()['parts'])}, layer.1, ..., "
            "layer.last) or a pattern of parameter names",
            remedy=f"write {near[0]}" if near else "correct it",
        )


def chosen_by(patterns: Iterable[str], parameters: Iterable[str]) -> tuple[set[str], list[str]]:
    """Return the parameters that patterns choose, and the patterns that match none.

    Parameters
    ----------
    patterns : list of str
        Shell patterns, read from the first to the last: ``pattern`` adds, ``!pattern`` takes out
        again.
    parameters : collection of str
        Their names.

    Returns
    -------
    set of str
    list of str
    """
    chosen, idle = set(), []
    for pattern in patterns:
        matched = set(fnmatch.filter(parameters, pattern.removeprefix("!")))
        chosen = chosen - matched if pattern.startswith("!") else chosen | matched
        if not matched:
            idle.append(pattern)
    return chosen, idle


def embeddings_train(patterns: Iterable[str]) -> bool:
    """Return whether patterns choose embeddings: then no layer sees the same input twice."""
    return bool(chosen_by(patterns, names()["known"]["embeddings"])[0])


def trains_head_alone(patterns: Iterable[str]) -> bool:
    """Return whether patterns choose something, and nothing of embeddings and layers."""
    known = names()["known"]
    layers = {known["layer"].replace("{i}", str(i)) for i in [*range(MOST_LAYERS), "{last}"]}
    chosen, _ = chosen_by(patterns, layers | set(known["head"]))
    return bool(chosen) and not chosen & layers and not embeddings_train(patterns)
