"""The question and the answer in a few sentences, with their numbers."""

import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.evidence.primary import ALPHA
from keygenes.report.panels import cosine_text, spoken
from keygenes.report.subject import beside, called, subject
from keygenes.report.summaries import (
    attention_change,
    best_baseline,
    covered,
    in_question,
    interval,
    n_trainings,
    not_learnt,
    partial_sets,
    pooled,
    set_auprc,
    top_expressed_members,
    top_members,
    verdict_counts,
)
from keygenes.report.wording import capital, counted, listed, trained_folds

THESIS = "attention_total"
REFERENCES = ("wilcoxon", "detection", "mean_rank")  # no model is behind these


def answer(tables, study):
    """Return what was asked, and what was found of models, their attention and the genes.

    A sentence each, of attention where models are compared. Where the model in question has not
    learnt a task, a sentence before them says so.

    Parameters
    ----------
    tables : dict
        labels, splits, claims, primary and track_tests (None where the study has none), gene_sets
        {name: table}, and per task metrics, cosine, comparison_bounds, key_genes, genes and, where
        the study is about no regime, scorecard.
    study : Study
    """
    return [
        *_unlearnt(tables, study),
        _asked(tables, study),
        _told(tables, study),
        *([_moved(tables, study)] if study.paired_tasks else []),
        _genes(tables, study),
        " ".join(["Is it real?", *_reality(tables, study), *_claims(tables["claims"])]),
    ]


def _unlearnt(tables, study):
    """Return the sentence about tasks that the model in question has not learnt, as a list."""
    reasons = {
        task: not_learnt(tables["metrics"][task], study.main) for task in study.tasks if study.main
    }
    reasons = {task: reason for task, reason in reasons.items() if reason}
    if not reasons:
        return []
    return [
        f"The model in question ({called(study, study.main)}) has not learnt {listed(reasons)}: "
        f"{_each(reasons)}; {subject(study).shown} says nothing there of what tells the classes "
        "apart."
    ]


def _each(texts):
    """Return {task: text} as one text: "4 in dose and 2 in level"; of a single task its text."""
    if len(texts) == 1:
        return str(next(iter(texts.values())))
    tasks = {}
    for task, text in texts.items():
        tasks.setdefault(text, []).append(task)
    return listed([f"{text} in {listed(of)}" for text, of in tasks.items()])


def _asked(tables, study):
    tested = tables["splits"][tables["splits"]["split"] == "test"]
    classes = {task: len(tables["labels"][task].cat.categories) for task in study.tasks}
    asked = listed([f"{task} ({n} classes)" for task, n in classes.items()])
    n_folds, cells = tested["fold"].nunique(), tested["cell"].nunique()
    trained = counted(n_folds, "fold")
    if study.main:
        trained = trained_folds(n_folds, n_trainings(tables, study.main, study.tasks))
    return (
        f"{subject(study).asking(asked)}: asked of {cells:,} test cells, held out by "
        f"{tested['unit'].iloc[0]} in {trained}?"
    )


def _told(tables, study):
    told, over = [], ""
    for task in study.tasks:
        metrics = tables["metrics"][task]
        row, majority = in_question(metrics, study.main), pooled(metrics, "majority")
        if row is None:
            continue
        over = covered(row) if pd.notna(row["ci_low"]) else over
        floor = f"where always naming the commonest class reaches {majority['value']:.2f}"
        if not study.main:
            accuracy = f"with an accuracy of {interval(row)}"
            told.append(f"{task} ({spoken(row['regime'])}) {accuracy}, {floor}")
            continue
        best = best_baseline(metrics, row["design"])
        kind = " without a transformer" if study.regimes else ""
        told.append(
            f"{task} with an accuracy of {interval(row)}, {floor} and, of {len(BASELINES)} "
            f"baselines{kind}, the best on these cells ({spoken(best['regime'])}) {interval(best)}"
        )
    if not told:
        return "No test accuracy was measured."
    intervals = f" (95 % intervals {over})" if over else ""
    return " ".join(
        [f"{subject(study).who} tells {'; '.join(told)}{intervals}.", *_beside_it(tables, study)]
    )


def _beside_it(tables, study):
    """Yield what other models reach, a sentence each."""
    for name in beside(study):
        rows = {task: pooled(tables["metrics"][task], name) for task in study.tasks}
        reached = {task: interval(row) for task, row in rows.items() if row is not None}
        if reached:
            yield f"Beside it, {called(study, name)} reaches {_each(reached)}."


def _moved(tables, study):
    tasks = study.paired_tasks
    found = {task: attention_change(tables, study, task) for task in tasks}
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
    controls = {task: row["again"] for task, row in found.items() if row["again"]}
    if controls:
        same = _each({task: cosine_text(row["cosine"]) for task, row in controls.items()})
        correlation = _each({task: f"{row['pearson']:.2f}" for task, row in controls.items()})
        cells = _each({task: f"{row['n_cells']:,} cells" for task, row in controls.items()})
        how = {"other_seed": "on the same cells from other seeds", "other_fold": "on other folds"}
        bound = next(iter(controls.values()))["bound"]
        said += (
            f"; two models of {spoken(first['a'])}, trained {how[bound]}, have "
            f"a cosine of {same} and a correlation of {correlation} (n = {cells})"
        )
    return f"{said}."


def _genes(tables, study):
    tasks, n_top = study.tasks, study.evidence["n_key_genes"]
    keys = {task: tables["key_genes"][task] for task in tasks}
    first = {task: ", ".join(keys[task]["symbol"].head(3).astype(str)) for task in tasks}
    sets, about = study.gene_sets, subject(study)
    if not sets and not study.main:
        return f"The {about.leading()} are {_each(first)}."
    if not sets:
        both = {}
        for task in tasks:
            tests = tables["genes"][task]
            tested = tests[tests["track"].astype(str) == "wilcoxon"].sort_values("rank")
            among = set(keys[task]["ensembl_id"].head(n_top))
            shared = len(among & set(tested["ensembl_id"].head(n_top)))
            both[task] = f"{shared} ({first[task]} first)"
        return (
            f"Of the {about.leading(n_top)}, {_each(both)} are among the "
            f"{n_top} most differentially expressed ones."
        )
    said = "".join(map(_part, partial_sets(tables).items()))
    without = [task for task in tasks if not keys[task][f"in_{sets[0]}"].any()]
    if without:
        none = f"No gene of {spoken(sets[0])} is {about.scored} in the test cells of"
        said = f" {none} {listed(without)}.{said}"
    if without == tasks:
        return f"The {about.leading()} are {_each(first)}.{said}"
    found, expected, tested = {}, {}, {}
    for task in (task for task in tasks if task not in without):
        n, chance = top_members(keys[task], sets[0], n_top)
        found[task], expected[task] = f"{n} ({first[task]} first)", f"{chance:.1f}"
        tested[task] = top_expressed_members(tables["genes"][task], keys[task], sets[0], n_top)
    expressed = ""
    if study.main:
        expressed = f", and of the {n_top} most differentially expressed genes {_each(tested)} are"
    return (
        f"Of the {about.leading(n_top)}, {_each(found)} are of the set "
        f"{spoken(sets[0])}; {_each(expected)} would be by chance{expressed}.{said}"
    )


def _part(item):
    """Return a sentence about a gene set that is in the data in part alone."""
    name, counts = item
    return (
        f" Only {counts['matched']} of the {counts['listed']} genes of {spoken(name)} are in the "
        "data: whatever is said of the set is said of these."
    )


def _reality(tables, study):
    """Yield what speaks for the genes, or against them, being more than chance."""
    if not study.main_attended:
        yield from _of_leaders(tables, study)
    if study.regimes:
        if tables["primary"] is not None and not study.main_attended:
            yield f"The primary test is about {spoken(study.primary['regime'])}."
        yield from primary_sentences(tables)


def _of_leaders(tables, study):
    """Yield how well the track that leads finds the first gene set, and what does not test it."""
    who = called(study, study.main) if study.main else "differential expression"
    rows = {
        task: row
        for task in study.tasks
        if (row := set_auprc(tables["scorecard"][task], study)) is not None
    }
    if rows:
        yield f"By {who} {_each({task: _in_set(row) for task, row in rows.items()})}."
    elif study.gene_sets:
        yield f"Not tested: no gene of {spoken(study.gene_sets[0])} has a score."
    else:
        yield "Not tested: the study names no set of known genes to hold these against."
    untested = "was not repeated on" if not study.main else "never learnt from"
    yield (
        f"{capital(who)} {untested} classes dealt at random, so nothing here says what it would "
        "find where there is nothing to find."
    )


def _in_set(row):
    """Return the AUPRC of a track as text, beside what a random order and matched genes reach."""
    matched = ""
    if pd.notna(row["matched_p"]):
        matched = (
            ", and random genes as widely detected and as highly ranked "
            f"{row['matched_null_mean']:.3f}, p = {row['matched_p']:.2g}"
        )
    return (
        f"the {row['n_positive']:.0f} genes of {spoken(row['against'])} have an AUPRC of "
        f"{row['value']:.3f} (a random order reaches {row['base_rate']:.3f}{matched})"
    )


def primary_sentences(tables):
    """Return the outcome of the primary test and its numbers, a sentence each.

    Parameters
    ----------
    tables : dict
        primary, track_tests: tables of these names, or None.
    """
    if tables["primary"] is None:
        return ["Not asked: the config names no primary test (evidence.primary)."]
    row = tables["primary"].iloc[0]
    outcome = str(row["outcome"])
    said = [f"{outcome[0].upper()}{outcome[1:]}: {row['reason']}."]
    if pd.notna(row["auprc"]):
        said += _statistic(row)
    if tables["track_tests"] is not None:
        said += _beside(row, tables["track_tests"])
    return said


def _statistic(row):
    """Yield T of the primary track and its two nulls, a sentence each."""
    more = ""
    if row["n_seeds"] > 1:
        more = f" ({row['seed_low']:.3f} to {row['seed_high']:.3f} over its trainings)"
    yield (
        f"By {spoken(row['track'])} of {spoken(row['regime'])}, the {row['n_positive']} genes of "
        f"{spoken(row['gene_set'])} have an AUPRC of {row['auprc']:.3f}{more}; a random order "
        f"reaches {row['base_rate']:.3f}."
    )
    if row["n_permuted"]:
        effect = f"an effect of {_effect(row)}"
        n = counted(int(row["n_permuted"]), "relabelling")
        yield (
            f"Models of {n} of the {row['permuted_unit']}s reach {row['permuted_mean']:.3f} "
            f"(p = {row['permuted_p']:.2g}): {effect}, of which {row['min_effect']:g} would count."
        )
    else:
        yield "No model of relabelled wells was trained to hold it against."
    if pd.notna(row["matched_p"]):
        yield (
            "Random genes as widely detected and as highly ranked reach "
            f"{row['matched_null_mean']:.3f} (p = {row['matched_p']:.2g})."
        )
    if pd.notna(row["trained_accuracy"]):
        of_dealt = row["permuted_trained_accuracy"]
        yield f"Accuracy on training cells is {row['trained_accuracy']:.2f}" + (
            f", and {of_dealt:.2f} in models of relabelled wells." if pd.notna(of_dealt) else "."
        )


def _signed(value):
    return f"{value + 0.0:+.3f}"


def _effect(row):
    """Return the effect of a track and its interval, as far as there is one."""
    if pd.isna(row["effect_low"]):
        return _signed(row["effect"])
    return (
        f"{_signed(row['effect'])} ({_signed(row['effect_low'])} to {_signed(row['effect_high'])})"
    )


def _beside(row, tests):
    """Yield what stands beside the primary test: tracks of no model, and the exploratory ones."""
    roles = tests["role"].astype(str)
    names = tests["track"].astype(str)
    parts = []
    for test in (tests[(roles == "reference") & (names == name)] for name in REFERENCES):
        if test.empty or pd.isna(test["auprc"].iloc[0]):
            continue
        test = test.iloc[0]
        inside = [f"{_signed(row['auprc'] - test['auprc'])} for {spoken(row['track'])}"]
        if test["n_permuted"]:
            inside.append(f"p = {test['permuted_p']:.2g} in {int(test['n_permuted'])} relabellings")
        parts.append(f"{spoken(test['track'])} {test['auprc']:.3f} ({', '.join(inside)})")
    if parts:
        yield f"Without a model: {listed(parts)}."
    others = tests[roles == "exploratory"]
    known = others["permuted_p_max"].dropna()
    if len(known):
        yield (
            f"All other tracks are exploratory: {(known <= ALPHA).sum()} of {len(known)} reach "
            f"p = {ALPHA:g} after correction over tracks (max-T)."
        )
        yield from _of_thesis(others[others["track"] == THESIS], row["min_effect"])
    elif len(others):
        yield f"All other tracks ({len(others)}) are exploratory, and no relabelling tests them."


def _of_thesis(tests, min_effect):
    """Yield how the thesis's own measure fares, which favours genes that many cells express."""
    for _, test in tests[tests["n_permuted"] > 0].iterrows():
        small = f", less than the {min_effect:g} that would count"
        yield (
            f"Total attention, the thesis's measure, reaches {test['auprc']:.3f}, and "
            f"{test['permuted_mean']:.3f} in models of relabelled wells (p = "
            f"{test['permuted_p']:.2g}): an effect of {_effect(test)}"
            f"{small if test['effect'] < min_effect else ''}."
        )


def _claims(table):
    return [] if table is None else [f"Claims: {verdict_counts(table)}."]
