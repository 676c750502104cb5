"""The studies of the product and of the tests, with the registry entries they use."""

from running import laid_over, whole_config

from keygenes.core.config import read_yaml
from keygenes.core.read_study import resolved_inputs
from keygenes.core.study import Study
from keygenes.report.references import read_references

COUNTS = {
    **{"n_cells": 2613, "n_genes": 9876, "unit": "well", "n_units": {"dose": 30, "level": 30}},
    **{"n_vocabulary": 25424, "n_cut": 7, "median_length": 683.0},
    **{"n_layers": 6, "n_heads": 4, "has_wells": True, "filter_pass": False},
}
SOFTWARE = {"keygenes": ["9.8.7"], "python": ["3.11.7"], "torch": ["2.13.0"], "scanpy": ["1.2.3"]}
STUDIES = {
    "config": [],
    "laptop": ["config/laptop.yaml"],
    "demo": ["config/demo_thesis.yaml"],
    "micro": ["config/demo_thesis.yaml", "tests/config/micro.yaml"],
}


def schema(name):
    return read_yaml(f"workflow/schemas/{name}.schema.yaml")


def study(name):
    """Return the config of a study of `STUDIES`."""
    return whole_config(*STUDIES[name])


def record_of(config, claims=None):
    """Return the `Study` of a config, with the registry entries that it uses."""
    return Study.of(config, resolved_inputs(config, schema)["entries"], claims)


def made_study(changed=None, claims=None, **entries):
    """Return the `Study` of config.yaml with some keys changed, of registry entries made up here.

    Parameters
    ----------
    changed : dict, optional
        A config that lacks the other keys.
    entries : dict {'datasets', 'model', ...: entries}
    """
    config = laid_over(study("config"), changed or {})
    made = {"title": "made-up cells", "layout": "h5ad"}
    return Study.of(
        config, {"datasets": {config["dataset"]: made}, "model": None} | entries, claims
    )


def references():
    return read_references("workflow/report/references.yaml", schema("references"))
