"""Studies in which a claim is true, and studies with nothing behind it, for every test of claims.

`null_table` judges many of either: how often a study with nothing behind it earns a verdict, and
how often one in which the claim is so does. `python tests/unit/evidence/claim_nulls.py` prints it.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "workflow/scripts")]

import claim_study as study  # noqa: E402

from keygenes.evidence.claim_tests import TESTS  # noqa: E402
from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED  # noqa: E402

PAIR = ["full", "frozen"]
N_WELLS, N_RANKS, MEDIAN = 30, 500, 340


def estimate(rng, mean, sd=0.08):
    """Return an accuracy over wells and its 95 % t interval: value, low, high."""
    wells = mean + sd * rng.standard_normal(N_WELLS)
    half = scipy.stats.t.ppf(0.975, N_WELLS // 2) * wells.std(ddof=1) / np.sqrt(N_WELLS)
    return wells.mean(), wells.mean() - half, wells.mean() + half


def accuracy(rng, true):
    # a model that guesses is close to what is claimed
    metrics = study.metrics(full=estimate(rng, 0.5 if true else 0.46), majority=0.46 - 0.1 * true)
    claim = {"regime": "full", "accuracy": 0.5, "tolerance": 0.05, "controls": ["majority"]}
    return {"metrics": metrics}, claim


def accuracy_difference(rng, true):
    value, low, high = estimate(rng, 0.0 if true else 0.05)
    metrics = study.metrics(full=0.6 + value, frozen=0.6, majority=0.2)
    metrics = study.gain(metrics, "frozen", value, low, high)
    return {"metrics": metrics}, {
        "regime": "full",
        "over": "frozen",
        "difference": 0.0,
        "tolerance": 0.05,
    }


def beats_controls(rng, true):
    metrics = study.metrics(frozen=estimate(rng, 0.7 if true else 0.6), majority=0.6)
    return {"metrics": metrics}, {"regime": "frozen", "chance": "majority", "controls": []}


def confusion_within(rng, true):
    """Predictions that favour some doses, independent of the truth unless it is `true`."""
    table = study.confusion("frozen", 0, 0, hits=0)
    favoured = rng.dirichlet([2] * 5)
    for _, rows in table.groupby(["fold", "seed", "true"]).groups.items():
        at = study.DOSES.index(table.loc[rows[0], "true"])
        near = np.array([(i < 3) == (at < 3) for i in range(5)])
        p = favoured * np.where(near, 4, 1) if true else favoured
        table.loc[rows, "n_cells"] = rng.multinomial(40, p / p.sum())
    groups = {"low": study.DOSES[:3], "high": study.DOSES[3:]}
    return {"confusion": table}, {"regime": "frozen", "groups": groups, "share": 0.5}


def _layers(rng, true, planted):
    """Return a number per layer, log-normal; those `planted` are far larger where it is true."""
    values = rng.lognormal(-3, 0.5, 6)
    if true:
        values[planted] = rng.uniform(1, 1.2, len(planted))
    return values


def _cosine(rng, change, pair=PAIR, spread=0.02):
    """Return table 'cosine' of changes by layer, every run a little other."""
    tables = []
    for fold, seed in study.RUNS:
        own = change * rng.lognormal(0, spread, len(change))
        table = study.cosine(pair, own / 10, own / 10)
        tables.append(table[(table["fold"] == fold) & (table["seed"] == seed)])
    return pd.concat(tables, ignore_index=True)


def layers_change_most(rng, true):
    change = _layers(rng, true, [2, 3, 5])
    return {"cosine": _cosine(rng, change)}, {"pair": PAIR, "layers": ["middle", "last"]}


def change_is_small(rng, true):
    last = np.array([0, 0, 0, 0, 0, 0.05 if true else 0.2])
    tables = [
        _cosine(rng, last, ["last_layer", "frozen"], spread=0.2),
        _cosine(rng, np.ones(6), spread=0.2),
    ]
    pairs = {"pair": ["last_layer", "frozen"], "than": PAIR}
    return {"cosine": pd.concat(tables)}, {**pairs, "max_change": 0.02, "max_share": 0.5}


def _norms(rng, regime, values):
    tables = []
    for fold, seed in study.RUNS:
        table = study.norms(regime, output=values * rng.lognormal(0, 0.02, len(values)))
        tables.append(table[(table["fold"] == fold) & (table["seed"] == seed)])
    return pd.concat(tables, ignore_index=True)


def largest_norm(rng, true):
    norms = _norms(rng, "full", _layers(rng, true, [1]))
    return {"norms": norms}, {"regime": "full", "measure": "output", "layer": 2, "by_far": 0.5}


def largest_change(rng, true):
    table = _cosine(rng, _layers(rng, true, [1]))
    return {"cosine": table}, {"pair": PAIR, "by": "cosine", "layer": 2}


def _smooth(rng, width=15):
    """Return a change in percent by rank that means nothing: smooth, the same all along."""
    kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
    noise = rng.standard_normal(N_RANKS + len(kernel) - 1)
    return np.convolve(noise, kernel / np.sqrt((kernel**2).sum()), "valid")


def _shift(rng, planted):
    """Return table 'rank_shift': what is planted, noise that all runs share and their own."""
    common, corrected = _smooth(rng), _smooth(rng)
    rank = np.arange(1, N_RANKS + 1)
    own = {run: planted(rank) + common + 0.3 * _smooth(rng) for run in study.RUNS}
    return study.shift(
        PAIR,
        None,
        lambda r: planted(r) + 0.5 * common[r - 1] + 0.5 * corrected[r - 1],
        median=MEDIAN,
        longest=N_RANKS,
        per_run={run: lambda r, of=values: of[r - 1] for run, values in own.items()},
    )


def _at(place):
    return lambda rank: 12 * np.exp(-(((rank - place) / 8) ** 2))


def nothing(rank):
    return 0.0 * rank


def shift_peaks(rng, true):
    table = _shift(rng, _at(0.307 * MEDIAN) if true else nothing)
    claim = {"pair": PAIR, "between": [0.278, 0.337], "smooth": 0.016, "min_share": 0.5}
    return {"rank_shift": table}, claim


def peak_at_gene(rng, true):
    table = _shift(rng, _at(105) if true else nothing)
    genes = study.key_genes(ranks={"MDM2": 105.0})
    claim = {"pair": PAIR, "gene": "MDM2", "class": None, "tolerance": 0.029, "smooth": 0.016}
    return {"rank_shift": table, "key_genes": genes}, {**claim, "min_share": 0.5, "max_others": 10}


def loses_beyond_median(rng, true):
    table = _shift(rng, lambda r: -8.0 * (r > MEDIAN) if true else nothing(r))
    return {"rank_shift": table}, {"pair": PAIR, "min_share": 0.05}


def peak_below_median(rng, true):
    def bump(rank):
        return 12.0 * ((rank <= MEDIAN) & (rank > 0.95 * MEDIAN))

    table = _shift(rng, bump if true else nothing)
    return {"rank_shift": table}, {"pair": PAIR, "window": 0.05, "min_share": 0.05}


def _tracks(rng, names, planted=(), recurring=True):
    """Return table 'genes': scores that go with detection and mean nothing; `planted` lead."""
    cells = rng.integers(10, 1000, study.N_GENES)
    common = rng.standard_normal(study.N_GENES)
    tables = []
    for name in names:
        for seed in (*study.SEEDS, pd.NA):
            own = rng.standard_normal(study.N_GENES)
            score = np.exp((0.9 * common if recurring else 0) + 0.4 * own)
            table = study.track(name, [], seeds=(seed,), pooled=False)
            at = [study.SYMBOLS.index(symbol) for symbol in table["symbol"]]
            score = score * (cells if name == "attention_total" else 1.0)
            lead = np.isin(study.SYMBOLS, list(planted))
            score[lead] = 2 * score.max() + np.arange(lead.sum())
            tables.append(table.assign(score=score[at], n_cells=cells[at]))
    return pd.concat(tables, ignore_index=True)


TRACK = {"regime": "full", "track": "attention_total"}
GROUP = ["MT-*", "RPL*", "RPS*", "!RPS6K*"]
BOTH = ["attention_total", "attention_received"]
LEADING = [f"RPL{i}" for i in range(12)]


def group_leads(rng, true):
    genes = _tracks(rng, BOTH, LEADING if true else ())
    claim = {"genes": GROUP, "n_top": 30, "count": 9, "controls": ["attention_received"]}
    return {"genes": genes}, {**TRACK, **claim}


def group_share(rng, true):
    genes = _tracks(rng, BOTH, [s for s in study.SYMBOLS if s[:2] in ("MT", "RP")] if true else ())
    return {"genes": genes}, {**TRACK, "genes": GROUP, "least": 0.5 if true else 0.08}


def gene_position(rng, true):
    genes = _tracks(rng, BOTH, [*LEADING[:5], "MDM2"] if true else ())
    # planted scores rise with the place among all genes, so that MDM2 leads
    claim = {"gene": "MDM2", "position": 1, "near": 10, "controls": ["attention_received"]}
    return {"genes": genes}, {**TRACK, **claim, "control_regimes": []}


def _lists(rng, true):
    genes = _tracks(rng, ["attention_total"], recurring=true)
    if not true:  # nothing recurs, not even what comes with detection
        genes["score"] = rng.random(len(genes))
    return pd.concat([genes, study.track("wilcoxon", study.EXPRESSED, None, seeds=())])


def lists_differ(rng, true):
    claim = {"against": "wilcoxon", "n_top": 30, "n_against": 30, "most": 0.2, "controls": []}
    return {"genes": _lists(rng, true)}, {**TRACK, **claim}


def top_is_unchanged(rng, true):
    first = [study.SYMBOLS[i] for i in rng.permutation(study.N_GENES)[:30]]
    rest = [s for s in study.SYMBOLS if not (true and s in first)]
    changed = rng.choice(rest, 240, replace=False)
    claim = {"n_top": 30, "fdr": 0.05, "min_abs_log2fc": 0.25, "most": 0.2}
    return {"attended": study.attended(first, changed)}, claim


def uncorrelated(rng, true):
    rho = scipy.stats.spearmanr(*rng.standard_normal((2, study.N_GENES))).statistic
    half = 1.96 / np.sqrt(study.N_GENES - 3)
    low, high = np.tanh(np.arctanh(rho) + np.array([-half, half]))
    card = study.scorecard(value=rho, ci_low=low, ci_high=high)
    claim = {"against": "wilcoxon", "metric": "partial_spearman", "margin": 0.2}
    return {"scorecard": card, "genes": _lists(rng, true)}, {**TRACK, **claim}


def targets_in_top(rng, true):
    targets = ["MDM2", *[f"G{i}" for i in range(10, 27)]]
    genes = _tracks(rng, BOTH, targets[:4] if true else ())
    claim = {"gene_set": "fischer2017", "n_top": 30, "count": 4, "tolerance": 2}
    claim |= {"controls": ["attention_received"], "matched": "precision_at_25"}
    card = study.scorecard().head(0)  # no matched sets: names are exchanged instead
    tables = {"genes": genes, "key_genes": study.key_genes(targets), "scorecard": card}
    return tables, {**TRACK, **claim}


def input_changes(rng, true):
    value, low, _ = estimate(rng, 0.08 if true else 0.0)
    table = study.input_length("accuracy", 0.9, value, value - low)
    claim = {"regime": "full_equal_length", "against": None, "measure": "accuracy"}
    return {"input_length": table}, {**claim, "direction": "up", "controls": []}


STUDIES = {name: globals()[name] for name in TESTS}


def verdicts(name, true, n_studies, seed=0):
    """Return the verdicts of a test on studies in which its claim is true, or nothing behind it."""
    found = []
    for i in range(n_studies):
        tables, claim = STUDIES[name](np.random.default_rng([seed, i]), true)
        tables = {key: {"level": table} for key, table in tables.items()}
        found.append(TESTS[name](tables, "level", **claim)["verdict"])
    return np.array(found)


def null_table(n_studies=200, seed=0):
    """Return the share of each verdict, per test: of studies with nothing behind it, and true ones.

    Columns test, truth ('nothing' or 'claim'), n_studies, holds, in_part, fails, undecided.
    """
    rows = []
    for name in STUDIES:
        for true in (False, True):
            of_test = verdicts(name, true, n_studies, seed)
            shares = {
                column: (of_test == verdict).mean()
                for column, verdict in {
                    "holds": HOLDS,
                    "in_part": PART,
                    "fails": FAILS,
                    "undecided": UNDECIDED,
                }.items()
            }
            truth = "claim" if true else "nothing"
            rows.append({"test": name, "truth": truth, "n_studies": n_studies, **shares})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(null_table(*map(int, sys.argv[1:])).round(3).to_string(index=False))
