"""Families of encoders, a module each, which holds all that only this family knows.

A module has `MODEL_TYPE`, as a config.json names it, `config_of` (what a config.json says),
`small_config`, the models `MaskedModel`, `CellClassifier` and `GeneClassifier`, and how tensors are
called in files: `whole_names`, `NEW_IN_CLASSIFIER`, `NOT_IN_CLASSIFIER`, `OF_CLASSES`, `BUFFERS`. A
model has a `trunk` with `embeddings`, `layers` and `states`; a layer has `heads`, `mixed`, `after`
and `joint`, between which attention is computed (`models.softmax`). Its parts, as regimes name
them, stand in core/parts.json.
"""

from keygenes.models.families import geneformer

FAMILIES = {family.MODEL_TYPE: family for family in (geneformer,)}


def family_of(config):
    """Return the module of the family that a config is of."""
    return FAMILIES[config.model_type]


def family_of_document(document):
    """Return the module of the family of a config.json's content; without a word, the first.

    Raises
    ------
    ValueError
        If it is not an object, or its `model_type` is of no family.
    """
    if not isinstance(document, dict):
        raise ValueError("no keys at the top level")
    name = document.get("model_type", next(iter(FAMILIES)))
    if name not in list(FAMILIES):  # it may be anything
        raise ValueError(f"model_type is {name!r}")
    return FAMILIES[name]
