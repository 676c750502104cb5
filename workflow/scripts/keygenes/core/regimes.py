"""Regimes: what a model is trained from, which of its parameters, and with which options."""

import fnmatch

from keygenes.core.errors import input_error

# Geneformer's own defaults for a cell classifier, to the letter (its
# classifier_utils.get_default_train_args): for V1, 500 warm-up steps however short the run.
_UPSTREAM = {
    "epochs": 10,
    "batch_size": 12,
    "learning_rate": 5e-5,
    "weight_decay": 0.001,
    "warmup_steps": 500,
    "warmup_fraction": None,
    "max_grad_norm": 1.0,
    "attention_dropout": None,
    "pooling": None,
}
# To other models than those of six layers upstream gives no warm-up.
PRESETS = {"upstream": _UPSTREAM, "upstream_v2": {**_UPSTREAM, "warmup_steps": 0}}

# A regime says in exactly one of these ways where its model comes from; of the other keys, those
# of section 'finetune' concern regimes that train, except where named here.
REGIME_FORMS = ("train", "freeze_layers", "finetuned", "method")
KEYS_OF_FORM = {"finetuned": {"finetuned"}, "method": {"method", "features", "pooling"}}
RESERVED_REGIMES = ("pretrained", "majority")  # the model before training, and a baseline


def check_regime(regime):
    """Raise an `InputError` unless a regime says in one way, wholly, what its model is."""
    where = f"config key 'regimes.{regime['name']}"
    if regime["name"] in RESERVED_REGIMES:
        raise input_error(
            f"{where}'",
            found="a name that stands for something else in the tables",
            expected=f"a name other than {' and '.join(RESERVED_REGIMES)}",
            remedy="rename the regime",
        )
    forms = [key for key in REGIME_FORMS if key in regime] or ["preset"] * ("preset" in regime)
    if len(forms) != 1:
        raise input_error(
            f"{where}'",
            found=" and ".join(forms) or "only a name",
            expected="one of train (patterns of parameter names), freeze_layers, finetuned (a "
            "model of the registry), or method: logistic",
            remedy="give exactly one" if forms else "add one",
        )
    foreign = set(regime) - {"name"} - KEYS_OF_FORM.get(forms[0], set(regime) - {"features"})
    if foreign:
        raise input_error(
            f"{where}.{min(foreign)}'",
            found=f"a key that a regime with '{forms[0]}' does not read",
            expected=f"none but {', '.join(sorted(KEYS_OF_FORM[forms[0]]))}"
            if forms[0] in KEYS_OF_FORM
            else "no 'features', which are for method: logistic",
            remedy="remove it",
        )
    if forms == ["method"] and "features" not in regime:
        raise input_error(
            f"{where}.features'",
            found="nothing",
            expected="hidden_state or expression",
            remedy="add the key",
        )


def trained_patterns(regime):
    """Return a regime as patterns of the parameters it trains (see `trained.train_only`).

    ``freeze_layers: k`` is Geneformer's own way: the first k layers are frozen, while the
    embeddings, the other layers and the head train.
    """
    if "train" in regime:
        return regime["train"]
    frozen = [f"!bert.encoder.layer.{i}.*" for i in range(regime.get("freeze_layers", 0))]
    return ["*", *frozen]


def chosen_by(patterns, names):
    """Return the names that patterns choose, and the patterns that match none.

    Parameters
    ----------
    patterns : list of str
        Shell patterns, read from the first to the last: ``pattern`` adds, ``!pattern`` takes out
        again.
    names : collection of str

    Returns
    -------
    set of str
    list of str
    """
    chosen, idle = set(), []
    for pattern in patterns:
        matched = set(fnmatch.filter(names, pattern.removeprefix("!")))
        chosen = chosen - matched if pattern.startswith("!") else chosen | matched
        if not matched:
            idle.append(pattern)
    return chosen, idle


def embeddings_train(patterns):
    """Return whether a regime trains the embeddings: then no layer sees the same input twice."""
    names = {
        f"bert.embeddings.{name}"
        for name in (
            *("word_embeddings.weight", "position_embeddings.weight"),
            *("token_type_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias"),
        )
    }
    return bool(chosen_by(patterns, names)[0])


def finetune_options(section, regime):
    """Return section 'finetune' with the regime's preset, then its own keys, over it.

    Without 'cache', which is no regime's own.
    """
    section = {key: value for key, value in section.items() if key != "cache"}
    preset = PRESETS[regime["preset"]] if "preset" in regime else {}
    own = {key: value for key, value in regime.items() if key in section}
    return {**section, **preset, **own}
