"""Regimes: what a model is trained from, which of its parameters, and with which options.

Some are controls of others: the same training on other tokens, labels, splits or first weights.
"""

from collections.abc import Iterable
from typing import Any

from keygenes.core.errors import input_error
from keygenes.core.parts import check_parts, patterns_of, trains_head_alone
from keygenes.core.tasks import cell_tasks
from keygenes.core.tracks import ATTRIBUTIONS

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
    "keep_epoch": "best",
}
# To other models than those of six layers upstream gives no warm-up.
PRESETS = {"upstream": _UPSTREAM, "upstream_v2": {**_UPSTREAM, "warmup_steps": 0}}

# A regime says in exactly one of these ways where its model comes from; of the other keys, those
# of section 'finetune' concern regimes that train, except where named here.
REGIME_FORMS = ("train", "freeze_layers", "finetuned", "method")
KEYS_OF_FORM = {
    "finetuned": {"finetuned", "tokens", "tasks"},
    "method": {"method", "features", "pooling", "tokens", "labels", "split", "tasks"},
}
# What every regime stands beside, cell length and first gene first (`models.baselines`).
BASELINES = (
    *("length_only", "token0", "bag_of_genes_l1", "bag_of_genes_l2", "rank_lr", "hvg_lr"),
    *("pca_lr", "gradient_boosting", "equal_depth_lr"),
)
# The model before training, and names and the folder of baselines.
RESERVED_REGIMES = ("pretrained", "majority", "baselines", *BASELINES)


def check_regime(regime: dict[str, Any]) -> None:
    """Raise an `InputError` unless a regime says in one way, wholly, what its model is."""
    where = f"config key 'regimes.{regime['name']}"
    if regime["name"] in RESERVED_REGIMES:
        raise input_error(
            f"{where}'",
            found="a name that stands for something else in the tables",
            expected=f"a name other than {', '.join(RESERVED_REGIMES)}",
            remedy="rename the regime",
        )
    forms = [key for key in REGIME_FORMS if key in regime] or ["preset"] * ("preset" in regime)
    if len(forms) != 1:
        raise input_error(
            f"{where}'",
            found=" and ".join(forms) or "only a name",
            expected="one of train (parts of the model), freeze_layers, finetuned (a "
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
    check_parts(regime.get("train", []), f"{where}.train'")
    if "converge" in regime and not trains_head_alone(trained_patterns(regime)):
        raise input_error(
            f"{where}.converge'",
            found="true, of a regime that trains more than the head",
            expected="train: [head] alone, on states that are computed once",
            remedy="remove converge and set epochs, or train the head alone",
        )
    if forms == ["method"] and "features" not in regime:
        raise input_error(
            f"{where}.features'",
            found="nothing",
            expected="hidden_state or expression",
            remedy="add the key",
        )
    if regime.get("features") == "expression" and "tokens" in regime:
        raise input_error(
            f"{where}.tokens'",
            found="a variant of the tokens for features that are read from counts",
            expected="'tokens' beside features: hidden_state",
            remedy="remove it",
        )
    if "labels" in regime and "split" in regime:
        raise input_error(
            f"{where}.split'",
            found="permuted labels in a split by cell",
            expected="one of the two: cells of a well would give their well's label away",
            remedy="make two regimes of it",
        )


def tasks_of(regime: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """Return the names of the tasks of cells that a regime is for."""
    return regime.get("tasks", [task["name"] for task in cell_tasks(config)])


def counterpart(name: str, regimes: dict[str, dict[str, Any]], key: str) -> str | None:
    """Return the regime that differs from another one by its lack of a key alone.

    Parameters
    ----------
    name : str
    regimes : dict {name: regime}
    key : str
        Such as tokens (the same training on the tokens as they are) or split.

    Returns
    -------
    str or None
        None where there is none, or the regime does not have the key itself.
    """

    def rest(regime: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in regime.items() if k not in ("name", key, "tasks")}

    if key not in regimes[name]:
        return None
    alike = [
        other
        for other, regime in regimes.items()
        if key not in regime and rest(regime) == rest(regimes[name])
    ]
    return alike[0] if alike else None


def kind_of(regime: dict[str, Any]) -> str:
    """Return what a regime is: 'control', 'probe' (no encoder is trained) or 'trained'."""
    if any(key in regime for key in ("tokens", "encoder", "labels", "split")):
        return "control"
    return "probe" if "method" in regime else "trained"


# Of lists that a config does not give, config/config.yaml's are read, which are about its tasks.
AMONG_OWN = (
    "name a task of cells; where your config has no 'regimes', those of config/config.yaml are "
    "read: list your own"
)


def _known(key: str, names: Iterable[str], known: Iterable[str], remedy: str) -> None:
    for name in names:
        if name not in known:
            raise input_error(
                f"config key '{key}'",
                found=f"'{name}'",
                expected=f"one of {', '.join(known)}",
                remedy=remedy,
            )


def _check_pair(
    pair: Iterable[str],
    regimes: dict[str, dict[str, Any]],
    tasks: Iterable[str],
    config: dict[str, Any],
) -> None:
    """Refuse two models whose attention to the same cells cannot be compared."""
    first, second = (regimes.get(name, {"name": name}) for name in pair)
    where, named = "config key 'attention.pairs'", f"[{', '.join(pair)}]"
    if first.get("tokens") != second.get("tokens"):
        raise input_error(
            where,
            found=f"{named}, which read different tokens",
            expected="two models of the same tokens",
            remedy="give both the same 'tokens', or compare each with another",
        )
    if not set(tasks_of(first, config)) & set(tasks_of(second, config)) & set(tasks):
        raise input_error(
            where,
            found=f"{named}, which have no task in common",
            expected="two models of one task",
            remedy="change 'tasks' of one of them",
        )


def check_regimes(config: dict[str, Any]) -> None:
    """Raise an `InputError` where regimes do not fit the rest of a config."""
    tasks = [task["name"] for task in cell_tasks(config)]
    check_parts(config["gene_classification"]["train"], "config key 'gene_classification.train'")
    regimes = {regime["name"]: regime for regime in config["regimes"]}
    for name, regime in regimes.items():
        check_regime(regime)
        key = f"regimes.{name}"
        _known(f"{key}.tasks", regime.get("tasks", []), tasks, AMONG_OWN)
        variant = [regime["tokens"]] if "tokens" in regime else []
        known = list(config["tokens"]["variants"])
        _known(f"{key}.tokens", variant, known, "name an entry of tokens.variants, or add it")


def check_questions(config: dict[str, Any], readers: Iterable[str] = ()) -> None:
    """Raise an `InputError` where what is asked of the encoder's models does not fit the models.

    Parameters
    ----------
    config : dict
        With checked regimes.
    readers : collection of str
        Readers that were brought along, which a study may be about as well.
    """
    tasks = [task["name"] for task in cell_tasks(config)]
    regimes = {regime["name"]: regime for regime in config["regimes"]}
    # A model of another split has other test cells: its attention is compared with no one's.
    looked_at = [
        name
        for name, regime in regimes.items()
        if regime.get("method") != "logistic" and "split" not in regime
    ]
    evidence, pairs = config["evidence"], config["attention"]["pairs"]
    remedy = "name a fine-tuned regime of 'regimes' (none with split: random), or add it there"
    either = [*looked_at, "pretrained"]
    _known("attention.pairs", [name for pair in pairs for name in pair], either, remedy)
    _known("evidence.regime", [evidence["regime"]], [*either, *readers], remedy)
    _known("evidence.regimes", evidence["regimes"], looked_at, remedy)
    if evidence["primary"]:
        check_primary(config, regimes, looked_at)
    for pair in pairs:
        _check_pair(pair, regimes, tasks, config)
    own = tasks_of(regimes.get(evidence["regime"], {}), config)
    if missing := [task for task in tasks if task not in own]:
        raise input_error(
            "config key 'evidence.regime'",
            found=f"'{evidence['regime']}', which is not for task '{missing[0]}'",
            expected="a regime of all tasks",
            remedy="name another, or remove its key 'tasks'",
        )


def check_primary(
    config: dict[str, Any], regimes: dict[str, dict[str, Any]], looked_at: list[str]
) -> None:
    """Refuse a primary test that this study cannot make.

    Parameters
    ----------
    regimes : dict {name: regime}
    looked_at : list of str
        Regimes whose attention is looked at.
    """
    evidence, primary = config["evidence"], config["evidence"]["primary"]
    where = "evidence.primary"
    remedy = "name one of them, or set evidence.primary to null: no confirmatory test"
    if primary["gene_set"] is not None:
        _known(f"{where}.gene_set", [primary["gene_set"]], evidence["gene_sets"], remedy)
    _known(f"{where}.track", [primary["track"]], evidence["tracks"], remedy)
    _known(f"{where}.regime", [primary["regime"]], looked_at, remedy)
    regime = regimes[primary["regime"]]
    _known(f"{where}.task", [primary["task"]], tasks_of(regime, config), remedy)
    if primary["track"] in ATTRIBUTIONS and primary["regime"] not in evidence["regimes"]:
        raise input_error(
            f"config key '{where}.track'",
            found=f"'{primary['track']}' of '{primary['regime']}', which is not attributed",
            expected=f"a regime of evidence.regimes: {', '.join(evidence['regimes'])}",
            remedy="add the regime there, or name a track of attention",
        )
    if "finetuned" in regime:  # the test says that it cannot be made
        return
    options = finetune_options(config["finetune"], regime)
    if options["keep_epoch"] != "last" or options["converge"]:
        raise input_error(
            f"config key '{where}.regime'",
            found=f"'{primary['regime']}', whose last epoch is chosen by validation",
            expected="keep_epoch: last, so that models of true and dealt labels train equally long",
            remedy=f"set regimes.{primary['regime']}.keep_epoch to last, without converge",
        )


def trained_patterns(regime: dict[str, Any]) -> list[str]:
    """Return a regime as patterns of the parameters it trains (see `trained.train_only`).

    ``freeze_layers: k`` is Geneformer's own way: the first k layers are frozen, while the
    embeddings, the other layers and the head train.
    """
    if "train" in regime:
        return patterns_of(regime["train"])
    frozen = [f"!layer.{i}" for i in range(1, regime.get("freeze_layers", 0) + 1)]
    return patterns_of(["all", *frozen])


def finetune_options(section: dict[str, Any], regime: dict[str, Any]) -> dict[str, Any]:
    """Return section 'finetune' with the regime's preset, then its own keys, over it.

    Without 'cache', which is no regime's own; converge holds 'convergence' for a regime that
    trains its head until it converges, and None for others.
    """
    own_keys = {k: v for k, v in section.items() if k not in ("cache", "convergence")}
    preset = PRESETS[regime["preset"]] if "preset" in regime else {}
    own = {key: value for key, value in regime.items() if key in own_keys}
    converge = section["convergence"] if regime.get("converge") else None
    return {**own_keys, **preset, **own, "converge": converge}
