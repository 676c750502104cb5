"""What has changed since a study was finished: why rules run again, in words.

Snakemake says for each job which params changed, but not which keys of the config these are.
"""

import json
from typing import Any

from keygenes.core.shown import printable, shortened

LONGEST_VALUE = 60  # characters
MOST_RULES = 8  # that are named one by one


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return {dotted key: value} of nested dicts; entries of lists go by their 'name'."""
    of_entries = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    if of_entries and value and all("name" in one for one in value):
        value = {one["name"]: {k: v for k, v in one.items() if k != "name"} for one in value}
    if not isinstance(value, dict) or not value:
        return {key: value}
    found = {}
    for name, inner in value.items():
        found |= leaves(inner, f"{key}.{name}" if key else str(name))
    return found


def _words(found: dict[str, Any], key: str) -> str:
    if key not in found:
        return "(not there)"
    text = json.dumps(found[key], ensure_ascii=False, default=str)
    return shortened(printable(text), LONGEST_VALUE)


def changed_keys(before: Any, now: Any) -> list[str]:
    """Return a line per key whose value differs: 'evidence.n_key_genes: 30 -> 50'."""
    before, now = leaves(before), leaves(now)
    one_sided = before.keys() ^ now.keys()
    keys = [k for k in {**before, **now} if k in one_sided or before[k] != now[k]]
    return [printable(f"{key}: {_words(before, key)} -> {_words(now, key)}") for key in keys]


def changed_code(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return a line on the scripts {name: digest} that differ, or none."""
    names = sorted(name for name, digest in now.items() if before.get(name) != digest)
    if not names:
        return []
    if len(names) > MOST_RULES:
        return [f"code of {len(names)} of {len(now)} rules: what many of them share"]
    return [f"code of {', '.join(names)}"]


def since_finished(
    record: dict[str, Any],
    *,
    config: dict[str, Any],
    entries: dict[str, Any],
    scripts: dict[str, str],
    rules: str,
) -> list[str]:
    """Return lines that say what differs from the record of a finished study.

    Parameters
    ----------
    record : dict
        Of provenance.json.
    config, entries : dict
        The config, and the registry entries it names.
    scripts : dict {script: digest}
    rules : str
        Digest of the rule files.
    """
    code = record["keygenes"]
    return [
        *(f"config key {line}" for line in changed_keys(record["config"], config)),
        *(f"registry entry {line}" for line in changed_keys(record["entries"], entries)),
        *changed_code(code["scripts"], scripts),
        *(
            ["the rule files (workflow/Snakefile, workflow/rules)"]
            if code["rules"] != rules
            else []
        ),
    ]
