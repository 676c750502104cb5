"""The file of claims that a study is held against: read, checked, and refused in one sentence.

Imported while Snakemake reads the Snakefile, so nothing heavy is imported here.
"""

from typing import Any

from keygenes.core.config import check, read_yaml
from keygenes.core.errors import input_error


def read_claims(path: str | None, schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return a checked file of claims, or None where the config names none."""
    if path is None:
        return None
    document = read_yaml(path)
    check(document, schema, f"{path}, key")
    ids = [claim["id"] for claim in document["claims"]]
    if repeated := [name for name in ids if ids.count(name) > 1]:
        raise input_error(
            f"{path}, key 'claims'",
            found=f"two claims with the id '{repeated[0]}'",
            expected="different ids",
            remedy="rename one",
        )
    for i, claim in enumerate(document["claims"]):
        _check_primary(claim, f"{path}, key 'claims[{i}].readings'")
        for j, reading in enumerate(claim["readings"]):
            if unknown := [task for task in reading["tasks"] if task not in document["tasks"]]:
                raise input_error(
                    f"{path}, key 'claims[{i}].readings[{j}].tasks'",
                    found=f"'{unknown[0]}'",
                    expected=f"one of {', '.join(document['tasks'])}",
                    remedy="correct it, or name the task and its classes under 'tasks'",
                )
    return document


def _check_primary(claim: dict[str, Any], where: str) -> None:
    """Refuse a claim without the one reading, on one task, that is its verdict."""
    primary = [reading for reading in claim["readings"] if reading.get("primary")]
    if len(primary) != 1:
        raise input_error(
            where,
            found=f"{len(primary)} readings with 'primary: true' of claim '{claim['id']}'",
            expected="exactly one, whose verdict is the claim's",
            remedy="mark the one that decides",
        )
    if len(primary[0]["tasks"]) != 1:
        raise input_error(
            where,
            found=f"{len(primary[0]['tasks'])} tasks in the primary reading of claim "
            f"'{claim['id']}'",
            expected="one, as a claim has one verdict",
            remedy="name the task that decides, and give the others a reading of their own",
        )
