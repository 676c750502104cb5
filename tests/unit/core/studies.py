"""Schemas and registries of the product, and configs edited by a test."""

from keygenes.core.config import read_yaml
from keygenes.core.resolve import read_registry


def schema(name):
    return read_yaml(f"workflow/schemas/{name}.schema.yaml")


def registries(config):
    return [
        read_registry(config["registries"][name], schema(name))
        for name in ("datasets", "models", "gene_sets")
    ]


def put(config, key, value):
    """Set a nested key such as 'regimes.0.train' or 'regimes.full.train'; `...` removes it."""
    *parents, last = key.split(".")
    for part in parents:
        if isinstance(config, list) and not part.isdigit():
            config = next(entry for entry in config if entry["name"] == part)
        else:
            config = config[int(part) if part.isdigit() else part]
    last = int(last) if last.isdigit() else last
    if value is ...:
        del config[last]
    else:
        config[last] = value
