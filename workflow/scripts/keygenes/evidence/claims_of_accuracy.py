"""Tests of claims about what models predict: tables in, a verdict out."""

import numpy as np
import scipy

from keygenes.evidence.claim_tables import (
    NotTestable,
    accuracies,
    accuracy_gap,
    accuracy_row,
    standard_error,
)
from keygenes.evidence.outcomes import (
    ALPHA,
    N_DRAWS,
    Found,
    Margin,
    equivalence_p,
    equivalent,
    graded,
    listed,
    null_of,
    outcome,
    over_models,
    unless,
    upper_p,
)


def by_chance(mean, error, df):
    """Return what would be measured where `mean` is so: float array [N_DRAWS], the same each time.

    Quantiles of the t distribution, so that nothing depends on luck.
    """
    return mean + error * scipy.stats.t.ppf((np.arange(N_DRAWS) + 0.5) / N_DRAWS, df)


def accuracy(tables, task, *, regime, accuracy, tolerance, controls):
    """Test whether a regime has the accuracy that is claimed: a claim of no difference.

    Holds if the 90 % interval lies within `tolerance` of it, fails if all of it lies outside, else
    undecided; in part if the first control (the commonest class) does as well. p: of the two
    one-sided tests. Null: a model no better than the first control, or without one an accuracy at
    the edge of the tolerance.
    """
    row = accuracy_row(tables, task, regime)
    error, df = standard_error(row["ci_low"], row["ci_high"], row["n_units"])
    margin = Margin(accuracy, tolerance)
    text, reached = _against(tables, task, controls, row)
    known = [
        found
        for _, found in accuracies(tables, task, controls[:1], row["design"])
        if found is not None
    ]
    floor = known[0]["value"] if known else -np.inf
    below = row["value"] - row["ci_low"]
    guessed = by_chance(floor if known else accuracy + tolerance, error, df)
    guessing = bool(known) and controls[0] in reached
    return outcome(
        unless(equivalent(row["value"], error, df, margin), guessing),
        f"ours is {'above' if row['value'] > accuracy else 'below'} {accuracy:.2f} by "
        f"{abs(row['value'] - accuracy):.2f}; "
        + _placed(row["value"], error, df, margin)
        + (f"; no better than {controls[0]}" if guessing else ""),
        _accuracy(row, equivalence_p(row["value"], error, df, margin)),
        null=null_of(
            f"a model no better than {controls[0]}"
            if known
            else "an accuracy at the edge of the tolerance",
            unless(equivalent(guessed, error, df, margin), guessed - below <= floor),
        ),
        control=text,
    )


def _accuracy(row, p):
    return Found(
        row["value"],
        f"accuracy; 95 % interval over {int(row['n_units'])} {row['unit']}s",
        n=row["n_cells"],
        n_of="test cells",
        interval=(row["ci_low"], row["ci_high"]),
        p=p,
    )


def _placed(value, error, df, margin):
    """Return where the 90 % interval lies with respect to the margin, in words."""
    half = scipy.stats.t.ppf(1 - ALPHA, df) * error
    low, high = margin.target - margin.width, margin.target + margin.width
    ours = f"our 90 % interval ({value - half:.2g} to {value + half:.2g})"
    verdict = str(equivalent(value, error, df, margin))
    where = {"holds": "lies within", "fails": "lies outside"}.get(verdict, "reaches beyond")
    return f"{ours} {where} the margin ({low:.2g} to {high:.2g})"


def _known(tables, task, controls, row):
    """Return the accuracies of those controls that the study has: list of float."""
    found = accuracies(tables, task, controls, row["design"])
    return [control["value"] for _, control in found if control is not None]


def _against(tables, task, controls, row):
    """Return the controls' accuracies as text, and which of them reach a regime's interval."""
    parts, reached = [], []
    for name, control in accuracies(tables, task, controls, row["design"]):
        if control is None:
            parts.append(f"{name} not in this study")
            continue
        beaten = row["ci_low"] > control["value"]
        reached += [] if beaten else [name]
        parts.append(f"{name} {control['value']:.2f} ({'beaten' if beaten else 'not beaten'})")
    return "; ".join(parts) or "none", reached


def accuracy_difference(tables, task, *, regime, over, difference, tolerance):
    """Test whether one regime is better than another by what is claimed, 0 included.

    Holds if the 90 % interval of the difference lies within `tolerance` of it, fails if all of it
    lies outside, else undecided. p: of the two one-sided tests. Null: a difference at the edge of
    the tolerance, the one that is hardest to tell.
    """
    value, low, high, paired, row = accuracy_gap(tables, task, regime, over)
    error, df = standard_error(low, high, row["n_units"])
    margin = Margin(difference, tolerance)
    wells = f"over {int(row['n_units'])} {row['unit']}s" if paired else "as if independent"
    return outcome(
        equivalent(value, error, df, margin),
        f"{regime} less {over} is {value:+.2f}; {_placed(value, error, df, margin)}",
        Found(
            value,
            f"difference of accuracies; 95 % interval {wells}",
            n=row["n_cells"],
            n_of="test cells",
            interval=(low, high),
            p=equivalence_p(value, error, df, margin),
        ),
        null=null_of(
            "a difference at the edge of the tolerance",
            equivalent(by_chance(difference + tolerance, error, df), error, df, margin),
        ),
        control=f"{over}, the model it is held against",
    )


def _over_chance(tables, task, row, chance):
    """Return by how much a regime's accuracy exceeds that of chance: value, low, high.

    Paired over wells where the study has it, which it has of the commonest class.
    """
    if chance == "majority":
        try:
            gap = accuracy_row(
                tables, task, row["regime"], row["design"], "accuracy_over_commonest"
            )
            return gap["value"], gap["ci_low"], gap["ci_high"]
        except NotTestable:
            pass
    [(_, floor)] = accuracies(tables, task, [chance], row["design"])
    if floor is None:
        raise NotTestable(f"the study has no accuracy of '{chance}' for task {task}")
    return tuple(row[name] - floor["value"] for name in ("value", "ci_low", "ci_high"))


def beats_controls(tables, task, *, regime, chance, controls):
    """Test whether a regime predicts better than `chance`, and than every control.

    Holds if its interval lies above all, in part if above chance alone. p: one-sided, of being no
    better than chance. Null: a model no better than chance.
    """
    row = accuracy_row(tables, task, regime)
    gap, low, high = _over_chance(tables, task, row, chance)
    error, df = standard_error(low, high, row["n_units"])
    text, reached = _against(tables, task, [chance, *controls], row)
    others = [name for name in reached if name != chance]
    guessed = by_chance(0.0, error, df)
    rivals = [
        found["value"]
        for _, found in accuracies(tables, task, controls, row["design"])
        if found is not None
    ]
    reach = row["value"] - gap + guessed - (row["value"] - row["ci_low"])
    return outcome(
        graded(low > 0, explained=bool(others)),
        f"{regime} is {'' if low > 0 else 'not '}better than {chance}, by {gap:+.2f} "
        f"({low:+.2f} to {high:+.2f})"
        + (f", but {listed(others)} does as well" if low > 0 and others else ""),
        _accuracy(row, scipy.stats.t.sf(gap / max(error, 1e-12), df)),
        null=null_of(
            f"a model no better than {chance}",
            graded(guessed - (gap - low) > 0, explained=reach <= max(rivals, default=-np.inf)),
        ),
        control=text,
    )


def _errors_within(tables, within):
    """Return the share of errors within groups, of tables [..., k, k] of true and predicted."""
    off = ~np.eye(tables.shape[-1], dtype=bool)
    errors = (tables * off).sum((-2, -1))
    return (tables * within).sum((-2, -1)) / np.where(errors > 0, errors, np.nan)


def confusion_within(tables, task, *, regime, groups, share):
    """Test whether most errors stay within groups of classes.

    Holds if more than `share` of the errors do, in every run too, and more than where predictions
    do not depend on the class (p <= 0.05); in part if not in every run, or no more than those.
    p, null: predictions dealt anew among the cells of a run, as often of each class. That takes
    cells as independent; the runs, whose wells differ, are the guard.
    """
    table = tables["confusion"][task]
    rows = table[(table["regime"] == regime) & table["fold"].notna() & table["seed"].notna()]
    if rows.empty:
        raise NotTestable(f"the study has no '{regime}' for task {task}")
    group_of = {member: name for name, members in groups.items() for member in members}
    classes = [str(c) for c in dict.fromkeys([*rows["true"], *rows["predicted"]])]
    if missing := [c for c in classes if c not in group_of]:
        raise NotTestable(f"class {missing[0]} of task {task} is in none of the claim's groups")
    names = np.array([group_of[c] for c in classes])
    within = (names[:, None] == names[None, :]) & ~np.eye(len(classes), dtype=bool)
    counts = rows.pivot_table(
        index=["fold", "seed", "true"],
        columns="predicted",
        values="n_cells",
        aggfunc="sum",
        observed=True,
    )
    runs = np.stack(
        [
            part.droplevel(["fold", "seed"]).reindex(index=classes, columns=classes).fillna(0)
            for _, part in counts.groupby(["fold", "seed"])
        ]
    ).astype(np.int64)
    errors = runs.sum() - np.trace(runs, axis1=1, axis2=2).sum()
    if not errors:
        raise NotTestable(f"{regime} makes no errors in task {task}")
    rng = np.random.default_rng(0)
    dealt = np.stack(
        [
            scipy.stats.random_table(run.sum(1), run.sum(0), seed=rng).rvs(N_DRAWS // 2)
            for run in runs
        ],
        axis=1,
    )
    studies = np.concatenate([runs[None], dealt])  # ours, then those with nothing behind them
    pooled, single = _errors_within(studies.sum(1), within), _errors_within(studies, within).T
    p = upper_p(pooled, pooled[1:])
    more = p <= ALPHA
    verdicts = graded(pooled > share, runs=(single > share) | np.isnan(single), explained=~more)
    interval, unit = over_models(single[~np.isnan(single[:, 0]), 0], "share of errors")
    expected = np.nanmean(pooled[1:])
    return outcome(
        verdicts[0],
        f"{pooled[0]:.0%} of the errors stay within {listed(groups)}"
        + ("" if more[0] else ", no more than independent errors would"),
        Found(pooled[0], unit, errors / rows["seed"].nunique(), "errors", interval, p[0]),
        null=null_of("predictions dealt anew among the cells", verdicts[1:]),
        control=f"errors spread independently of the true class: {expected:.0%} within",
    )
