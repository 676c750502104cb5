"""A made-up study in which everything that the thesis says is so, and ways to change it."""

import numpy as np
import pandas as pd

DOSES, LEVELS = ["0", "1.25", "2.5", "12.5", "25"], ["low", "high"]
CLASSES = {"dose": DOSES, "level": LEVELS}
FOLDS, SEEDS = (1, 2, 3), (1, 2, 3)
RUNS = [(fold, seed) for fold in FOLDS for seed in SEEDS]
MEDIAN = 683
N_GENES = 600


def metrics(one_class=(), **values):
    """Return table 'metrics' of pooled test accuracies: name=value or (value, low, high).

    A name ending in __random is of the random design. What exceeds the commonest class stands
    beside each that is no baseline, as do the classes that each model names: two, or of those in
    `one_class` one.
    """
    rows, floors = [], {}
    for name, value in values.items():
        regime, _, design = name.partition("__")
        value = value if isinstance(value, tuple) else (value, value - 0.03, value + 0.03)
        rows.append((regime, pd.NA, "accuracy", *value, design or "grouped"))
        if regime == "majority":
            floors[design or "grouped"] = value[0]
    for regime, _, _, *value, design in list(rows):
        if regime in ("majority", "length_only"):
            continue
        if design in floors:
            over = [x - floors[design] for x in value]
            rows.append((regime, pd.NA, "accuracy_over_commonest", *over, design))
        named = 1 if regime in one_class else 2
        rows += [(regime, fold, "classes_named", named, *[np.nan] * 2, design) for fold in FOLDS]
    columns = ["regime", "fold", "metric", "value", "ci_low", "ci_high", "design"]
    frame = pd.DataFrame(rows, columns=columns)
    names = {"split": "test", "n_cells": 600, "n_units": 30, "unit": "well"}
    return frame.assign(**names, seed=frame["fold"].where(frame["fold"].isna(), 1))


def gain(table, regime, value, low, high):
    """Return table 'metrics' with the paired difference of the main regime to `regime`."""
    row = table[(table["regime"] == regime) & (table["metric"] == "accuracy")].assign(
        metric="accuracy_gain", value=value, ci_low=low, ci_high=high
    )
    return pd.concat([table, row], ignore_index=True)


def confusion(regime, within, across, hits=50):
    """Return table 'confusion': errors per pair of doses of the same group, and across."""
    rows = []
    for run in RUNS:
        for i, true in enumerate(DOSES):
            for j, predicted in enumerate(DOSES):
                same = (i < 3) == (j < 3)
                n = hits if i == j else within if same else across
                rows.append((regime, *run, true, predicted, n))
    return pd.DataFrame(rows, columns=["regime", "fold", "seed", "true", "predicted", "n_cells"])


def cosine(pair, change, pearson=None, jitter=0.0):
    """Return table 'cosine' of a pair: 1 - cosine per layer, the same for every head."""
    rows = []
    for fold, seed in RUNS:
        for layer, value in enumerate(change, 1):
            for head in (1, 2):
                other = np.nan if pearson is None else 1 - pearson[layer - 1]
                spread = jitter * (seed - 2)
                rows.append((*pair, fold, seed, layer, head, 1 - value - spread, other, 200))
    return pd.DataFrame(
        rows, columns=["a", "b", "fold", "seed", "layer", "head", "cosine", "pearson", "n_cells"]
    )


def shift(pair, change, residual=None, median=MEDIAN, longest=1000, per_run=None):
    """Return table 'rank_shift' of a pair, all layers: percent change as functions of the rank.

    `per_run` has another function for some runs (fold, seed).
    """
    rank = np.arange(1, longest + 1)
    # half of the cells end at the median, the others one by one behind it
    n = np.where(rank <= median, 200, np.round(99 * (longest - rank) / (longest - median)))
    frames = []
    for run in RUNS:
        percent = np.vectorize((per_run or {}).get(run, change))(rank).astype(float)
        frames.append(
            pd.DataFrame(
                {
                    "a": pair[0],
                    "b": pair[1],
                    "fold": run[0],
                    "seed": run[1],
                    "layer": pd.array([pd.NA] * longest, "Int64"),
                    "rank": rank,
                    "sum_a": n * (1 + percent / 100),
                    "sum_b": n.astype(float),
                    "n_cells": n.astype(int),
                    "percent_residual": np.nan
                    if residual is None
                    else np.vectorize(residual)(rank).astype(float),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame[frame["n_cells"] > 0].reset_index(drop=True)


def norms(regime, **measures):
    """Return table 'norms' of a regime: a mean per layer for every measure."""
    rows = []
    for measure, values in measures.items():
        for run in RUNS:
            for layer, mean in enumerate(values, 1):
                heads = [pd.NA] if measure == "output" else [1, 2]
                rows += [(regime, *run, "test", layer, head, measure, 200, mean) for head in heads]
    return pd.DataFrame(
        rows,
        columns=["regime", "fold", "seed", "subset", "layer", "head", "measure", "n_cells", "mean"],
    )


SYMBOLS = [
    *[f"MT-X{i}" for i in range(10)],
    *[f"RPL{i}" for i in range(20)],
    *[f"RPS{i}" for i in range(20)],
    "RPS6KA1",
    "MDM2",
    *[f"G{i}" for i in range(N_GENES - 52)],
]
IDS = {symbol: f"ENSG{i:011d}" for i, symbol in enumerate(SYMBOLS)}
FIRST = ["MT-X0", "MT-X1", "RPL1", "RPS1", "MT-X2", "MDM2", "RPL2", "G1", "RPS2", "RPL3", "RPS3"]
TARGETS = ["MDM2", "G10", "G11", "G12", "G400", "G401"]


def track(name, first, regime="full", seeds=SEEDS, pooled=True, scores=None):
    """Return rows of table 'genes': `first` leads, the other genes follow in a fixed order."""
    rest = np.random.default_rng(5).permutation(sorted(set(SYMBOLS) - set(first)))
    order = [*first, *rest]
    score = np.arange(len(order), 0, -1.0) if scores is None else scores(order)
    frame = pd.DataFrame(
        {
            "track": name,
            "regime": regime,
            "ensembl_id": [IDS[s] for s in order],
            "symbol": order,
            "score": score,
            "n_cells": 100,
        }
    )
    wanted = [*seeds, *([pd.NA] if pooled else [])]
    return pd.concat([frame.assign(seed=seed) for seed in wanted], ignore_index=True)


def key_genes(targets=TARGETS, ranks=None):
    """Return table 'key_genes': mean ranks (all 500 unless given), and the set 'fischer2017'."""
    frame = pd.DataFrame({"ensembl_id": list(IDS.values()), "symbol": list(IDS)})
    frame["rank_mean"] = frame["symbol"].map({"MDM2": 210.0, **(ranks or {})}).fillna(500.0)
    frame["mean_rank_high"], frame["mean_rank_low"] = frame["rank_mean"] - 5, 400.0
    frame["in_fischer2017"] = frame["symbol"].isin(targets)
    return frame


def attended(first, changed):
    """Return table 'attended_vs_expressed': genes by attention, those `changed` being DE."""
    rest = [s for s in SYMBOLS if s not in first]
    frame = pd.DataFrame({"symbol": [*first, *rest]})
    frame["attention_rank"] = np.arange(1, len(frame) + 1)
    hit = frame["symbol"].isin(changed)
    return frame.assign(p_adj=np.where(hit, 0.001, 0.8), log2fc=np.where(hit, -1.2, 0.1))


def input_length(measure, value, difference, spread, regime="full_equal_length", against=None):
    """Return a row of table 'input_length': the difference with an interval of +- `spread`."""
    row = {
        "regime": regime,
        "against": against,
        "reference": "full",
        "measure": measure,
        "value": value,
        "difference": difference,
        "difference_low": difference - spread,
        "difference_high": difference + spread,
        "n": 30,
        "n_of": "well",
        "n_cells": 600,
    }
    return pd.DataFrame([row])


def scorecard(**columns):
    """Return a scorecard of one pooled row."""
    row = {
        "track": "attention_total",
        "regime": "full",
        "seed": pd.NA,
        "aspect": "expression",
        "against": "wilcoxon",
        "metric": "partial_spearman",
        "value": 0.02,
        "ci_low": -0.05,
        "ci_high": 0.09,
        "matched_p": 0.6,
        "n_genes": N_GENES,
    }
    return pd.DataFrame([{**row, **columns}])


# Everything as the thesis has it

LATE = [0.01, 0.01, 0.05, 0.06, 0.01, 0.09]
LAST_ALONE = [0.0, 0.0, 0.0, 0.0, 0.0, 0.01]


def as_in_figure_6(rank):
    """Return the shift at a rank: most at 210, less beyond the median, a bump just below it."""
    peak = 20 * np.exp(-(((rank - 210) / 15) ** 2))
    return peak + (-3.0 if rank > MEDIAN else 2.0 if rank > MEDIAN - 34 else 0.0)


# 4 mitochondrial and a ribosomal gene lead, MDM2 is sixth, 4 of 30 are targets, 9 of the group
FIGURE_8 = [
    *[f"MT-X{i}" for i in range(4)],
    *["RPS1", "MDM2", "RPL1", "RPL2", "RPS2", "MT-X4", "G10", "G11", "G12"],
    *[f"G{i}" for i in range(100, 117)],
]
ELSEWHERE = [f"G{i}" for i in range(200, 240)]
EXPRESSED = [f"G{i}" for i in range(300, 340)]
