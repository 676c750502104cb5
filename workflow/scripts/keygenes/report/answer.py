"""The question and the answer in five sentences, with their numbers."""

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.tasks import cell_tasks
from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence.verdicts import HOLDS, UNTESTABLE, tally
from keygenes.report.panels import cosine_text, spoken
from keygenes.report.summaries import (
    attention_change,
    best_baseline,
    interval,
    pooled,
    top_expressed_members,
    top_members,
)
from keygenes.report.wording import WORDS, counted, listed

TRACKS = (*ATTENTION, *ATTRIBUTIONS)  # of a model


def answer(tables, config, dataset, model):
    """Return five sentences: what was asked, and what was found of models, attention and genes.

    Parameters
    ----------
    tables : dict
        labels, splits, claims (or None), and per task metrics, cosine,
        comparison_bounds, key_genes, genes and scorecard.
    config : dict
    dataset, model : str
        What they are called.
    """
    regime, tasks = config["evidence"]["regime"], [task["name"] for task in cell_tasks(config)]
    return [
        _asked(tables, config, dataset, model, regime, tasks),
        _told(tables, regime, tasks),
        _moved(tables, config, tasks),
        _genes(tables, config, tasks),
        _real(tables, config, regime, tasks),
    ]


def _each(texts):
    """Return {task: text} as one text: "4 in dose and 2 in level"; of a single task its text."""
    if len(texts) == 1:
        return str(next(iter(texts.values())))
    tasks = {}
    for task, text in texts.items():
        tasks.setdefault(text, []).append(task)
    return listed([f"{text} in {listed(of)}" for text, of in tasks.items()])


def _asked(tables, config, dataset, model, regime, tasks):
    tested = tables["splits"][tables["splits"]["split"] == "test"]
    classes = {task: len(tables["labels"][task].cat.categories) for task in tasks}
    asked = listed([f"{task} ({n} classes)" for task, n in classes.items()])
    return (
        f"Which genes does {model} look at when it is fine-tuned (regime {spoken(regime)}) to tell "
        f"{asked} of {dataset} apart, and is that real: asked of {tested['cell'].nunique():,} test "
        f"cells, held out by {tested['unit'].iloc[0]}, with "
        f"{counted(tested['seed'].nunique(), 'seed')}?"
    )


def _told(tables, regime, tasks):
    told, known = [], False
    for task in tasks:
        metrics = tables["metrics"][task]
        row, majority = pooled(metrics, regime), pooled(metrics, "majority")
        if row is None:
            continue
        best = best_baseline(metrics, row["design"])
        known |= pd.notna(row["ci_low"])
        told.append(
            f"{task} with an accuracy of {interval(row)}, where always naming the commonest class "
            f"reaches {majority['value']:.2f} and, of {len(BASELINES)} baselines without a "
            f"transformer, the best on these cells ({spoken(best['regime'])}) {interval(best)}"
        )
    if not told:
        return "No test accuracy was measured."
    return f"The model tells {'; '.join(told)}{' (95 % intervals)' if known else ''}."


def _moved(tables, config, tasks):
    found = {task: attention_change(tables, config, task) for task in tasks}
    first = found[tasks[0]]
    cosines = {
        task: f"{cosine_text(row['cosine'])} ({cosine_text(row['low'])} to "
        f"{cosine_text(row['high'])})"
        for task, row in found.items()
    }
    received = {task: f"{row['pearson']:.2f}" for task, row in found.items()}
    cells = {task: f"{row['n_cells']:,} test cells" for task, row in found.items()}
    said = (
        f"The attention of {spoken(first['a'])} and {spoken(first['b'])} has a mean cosine of "
        f"{_each(cosines)} (1: equal; lowest and highest of {first['n_heads']} heads; n = "
        f"{_each(cells)}), and what genes receive correlates by {_each(received)}"
    )
    controls = {task: row["other_seed"] for task, row in found.items() if row["other_seed"]}
    if controls:
        same = _each({task: cosine_text(row["cosine"]) for task, row in controls.items()})
        correlation = _each({task: f"{row['pearson']:.2f}" for task, row in controls.items()})
        cells = _each({task: f"{row['n_cells']:,} cells" for task, row in controls.items()})
        said += (
            f"; two models of {spoken(first['a'])}, trained with other seeds and splits, have "
            f"a cosine of {same} and a correlation of {correlation} (n = {cells})"
        )
    return f"{said}."


def _genes(tables, config, tasks):
    n_top = config["evidence"]["n_key_genes"]
    keys = {task: tables["key_genes"][task] for task in tasks}
    first = {task: ", ".join(keys[task]["symbol"].head(3).astype(str)) for task in tasks}
    sets = config["evidence"]["gene_sets"]
    if not sets:
        both = {}
        for task in tasks:
            tests = tables["genes"][task]
            tested = tests[tests["track"].astype(str) == "wilcoxon"].sort_values("rank")
            leaders = set(keys[task]["ensembl_id"].head(n_top))
            shared = len(leaders & set(tested["ensembl_id"].head(n_top)))
            both[task] = f"{shared} ({first[task]} first)"
        return (
            f"Of the {n_top} genes that receive most attention, {_each(both)} are among the "
            f"{n_top} most differentially expressed ones."
        )
    found, expected, tested = {}, {}, {}
    for task in tasks:
        n, chance = top_members(keys[task], sets[0], n_top)
        found[task], expected[task] = f"{n} ({first[task]} first)", f"{chance:.1f}"
        tested[task] = top_expressed_members(tables["genes"][task], keys[task], sets[0], n_top)
    return (
        f"Of the {n_top} genes that receive most attention, {_each(found)} are of the set "
        f"{spoken(sets[0])}; {_each(expected)} would be by chance, and of the {n_top} most "
        f"differentially expressed genes {_each(tested)} are."
    )


def tests_of_tracks(card, gene_set, regime):
    """Return what each attention or attribution track of a regime passes, all seeds pooled.

    Parameters
    ----------
    card : table 'scorecard' of one task
    gene_set : str or None
        None: tracks are held against differential expression.
    regime : str

    Returns
    -------
    dict {test: Series of bool, by track}
        Of the tests set or differential_expression, permuted_labels and masking, those that were
        made; of each the tracks that were tested. A track passes if its whole 95 % interval is on
        the right side.
    """
    rows = card[
        (card["regime"].astype(str) == regime)
        & card["seed"].isna()
        & card["track"].astype(str).isin(TRACKS)
    ].dropna(subset=["ci_low"])
    rows = rows.assign(track=rows["track"].astype(str)).set_index("track")
    metric, against = rows["metric"].astype(str), rows["against"].astype(str)
    made = {}
    if gene_set:
        ranked = rows[(metric == "auprc") & (against == gene_set)]
        made["set"] = ranked["ci_low"] > ranked["base_rate"]
        twins = ranked.dropna(subset=["null_mean"])
        made["permuted_labels"] = twins["ci_low"] > twins["null_mean"]
    else:
        partial = rows[(metric == "partial_spearman") & (against == "wilcoxon")]
        made["differential_expression"] = partial["ci_low"] > 0
    made["masking"] = rows.loc[metric == "comprehensiveness_gain", "ci_low"] > 0
    return {test: passed for test, passed in made.items() if len(passed)}


def passes_every(made):
    """Return for each track that some test was made of whether it passes every test."""
    return pd.DataFrame(made).astype(object).eq(True).all(axis=1)


def _real(tables, config, regime, tasks):
    sets = config["evidence"]["gene_sets"]
    gene_set = sets[0] if sets else None
    made = {task: tests_of_tracks(tables["scorecard"][task], gene_set, regime) for task in tasks}
    made = {task: tests for task, tests in made.items() if tests}
    said = [*([_tracks(made, gene_set)] if made else []), *_claims(tables["claims"])]
    if not said:
        return "There is no gene set, track or claim to hold this against."
    return f"Is it real? {'; '.join(said)}."


def _tracks(made, gene_set):
    every = {task: passes_every(tests) for task, tests in made.items()}
    passed, tested = (sum(map(of, every.values())) for of in (sum, len))
    verdict = "No" if passed == 0 else "Yes" if passed == tested else "In part"
    what = {
        "set": f"rank {spoken(gene_set)} above its base rate",
        "permuted_labels": "do so above the mean of the same track in models trained on permuted "
        "labels",
        "differential_expression": "follow differential expression beyond what detection, mean "
        "expression and rank explain",
        "masking": "put genes first whose masking moves the model's answer more than that of "
        "random genes of the same ranks",
    }
    counts = {
        test: _each(
            {
                task: f"{tests[test].sum()} of {len(tests[test])}"
                for task, tests in made.items()
                if test in tests
            }
        )
        for test in what
        if any(test in tests for tests in made.values())
    }
    n = len(counts)
    all_of_them = {1: "the one test made", 2: "both tests"}.get(n, f"all {WORDS[n]} tests")
    together = _each({task: f"{of.sum()} of {len(of)}" for task, of in every.items()})
    singly = listed([f"{count} {what[test]}" for test, count in counts.items()])
    return (
        f"{verdict}: of the attention and attribution tracks {together} pass {all_of_them} with "
        f"their whole 95 % interval ({singly})"
    )


def _claims(table):
    if table is None:
        return []
    verdicts = tally(table["verdict"])
    if verdicts[UNTESTABLE] == len(table):
        return [f"none of {len(table)} readings of the claims can be tested here"]
    return [f"{verdicts[HOLDS]} of {len(table)} readings of the claims hold"]
