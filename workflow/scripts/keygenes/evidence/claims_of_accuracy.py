"""Tests of claims about what models predict: tables in, a verdict out."""

import numpy as np
import scipy.stats

from keygenes.evidence.claim_tables import NotTestable, accuracies, accuracy_gap, accuracy_row
from keygenes.evidence.outcomes import graded, listed, outcome, over_seeds, unless


def accuracy(tables, task, *, regime, accuracy, tolerance, controls):
    """Test whether a regime has the accuracy that is claimed.

    Holds if the interval contains it and the accuracy is within `tolerance`, in part if one of the
    two is so (a wide interval contains nearly anything); no better than in part if the first
    control (the commonest class) does as well.
    """
    row = accuracy_row(tables, task, regime)
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    inside, near = low <= accuracy <= high, abs(value - accuracy) <= tolerance
    verdict = graded(inside and near, inside or near)
    text, reached = _against(tables, task, controls, row)
    guessing = bool(controls) and controls[0] in reached
    place = (
        f"ours is {'above' if value > accuracy else 'below'} {accuracy:.2f} by "
        f"{abs(value - accuracy):.2f}, {'within' if near else 'beyond'} the tolerance of "
        f"{tolerance:g}; our interval {'includes' if inside else 'excludes'} it"
    )
    return outcome(
        unless(verdict, guessing),
        value,
        place + (f"; no better than {controls[0]}" if guessing else ""),
        unit=f"accuracy; 95 % interval over {int(row['n_units'])} {row['unit']}s",
        interval=(low, high),
        n=row["n_cells"],
        n_of="test cells",
        control=text,
    )


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


def _gap_unit(paired, row):
    over = f"over {int(row['n_units'])} {row['unit']}s"
    return "difference of accuracies; 95 % interval " + (over if paired else "as if independent")


def accuracy_difference(tables, task, *, regime, over, difference, tolerance):
    """Test whether one regime is better than another by what is claimed.

    Holds if the interval contains it and the difference is within `tolerance`, in part if one of
    the two is so.
    """
    value, low, high, paired, row = accuracy_gap(tables, task, regime, over)
    inside, near = low <= difference <= high, abs(value - difference) <= tolerance
    return outcome(
        graded(inside and near, inside or near),
        value,
        f"{regime} less {over} is {value:+.2f}; {difference:+.2f} lies "
        + ("inside" if inside else "outside")
        + " our interval",
        unit=_gap_unit(paired, row),
        interval=(low, high),
        n=row["n_cells"],
        n_of="test cells",
        control=f"{over}, the model it is held against",
    )


def beats_controls(tables, task, *, regime, chance, controls):
    """Test whether a regime predicts better than `chance`, and than every control.

    Holds if its interval lies above all, in part if above chance alone. p: one-sided normal
    approximation, with the standard error that the interval implies.
    """
    row = accuracy_row(tables, task, regime)
    [(_, floor)] = accuracies(tables, task, [chance], row["design"])
    if floor is None:
        raise NotTestable(f"the study has no accuracy of '{chance}' for task {task}")
    text, reached = _against(tables, task, [chance, *controls], row)
    error = (row["ci_high"] - row["ci_low"]) / (2 * scipy.stats.norm.ppf(0.975))
    gap = row["value"] - floor["value"]
    p = scipy.stats.norm.sf(gap / error) if error > 0 else (0.0 if gap > 0 else 1.0)
    above = chance not in reached
    others = [name for name in reached if name != chance]
    return outcome(
        graded(above and not others, above),
        row["value"],
        f"{regime} is {'' if above else 'not '}better than {chance}"
        + (f", but {listed(others)} does as well" if above and others else ""),
        unit=f"accuracy; 95 % interval over {int(row['n_units'])} {row['unit']}s",
        interval=(row["ci_low"], row["ci_high"]),
        n=row["n_cells"],
        n_of="test cells",
        p=p,
        control=text,
    )


def confusion_within(tables, task, *, regime, groups, share):
    """Test whether most errors stay within groups of classes.

    Holds if more than `share` of the errors do in every seed, and more than errors spread
    independently of the true class would; in part if only pooled, or no more than such errors.
    """
    table = tables["confusion"][task]
    rows = table[(table["regime"] == regime) & table["seed"].notna()]
    if rows.empty:
        raise NotTestable(f"the study has no '{regime}' for task {task}")
    group_of = {member: name for name, members in groups.items() for member in members}
    classes = [str(c) for c in dict.fromkeys([*rows["true"], *rows["predicted"]])]
    if missing := [c for c in classes if c not in group_of]:
        raise NotTestable(f"class {missing[0]} of task {task} is in none of the claim's groups")
    names = np.array([group_of[c] for c in classes])
    within = (names[:, None] == names[None, :]) & ~np.eye(len(classes), dtype=bool)

    def share_within(part):
        matrix = part.pivot_table(
            index="true", columns="predicted", values="n_cells", aggfunc="sum", observed=True
        )
        matrix = matrix.reindex(index=classes, columns=classes).fillna(0).to_numpy()
        errors = matrix * ~np.eye(len(classes), dtype=bool)
        spread = np.outer(matrix.sum(1), matrix.sum(0)) * ~np.eye(len(classes), dtype=bool)
        if not errors.sum():
            return None
        return (
            errors[within].sum() / errors.sum(),
            spread[within].sum() / spread.sum(),
            errors.sum(),
        )

    if (pooled := share_within(rows)) is None:
        raise NotTestable(f"{regime} makes no errors in task {task}")
    value, expected, n = pooled
    seeds = [share_within(part) for _, part in rows.groupby("seed")]
    seeds = [of_seed[0] for of_seed in seeds if of_seed]
    interval, unit = over_seeds(seeds, "share of errors")
    verdict = graded(all(v > share for v in seeds), value > share)
    explained = value <= expected
    return outcome(
        unless(verdict, explained),
        value,
        f"{value:.0%} of the errors stay within {listed(groups)}"
        + (", no more than independent errors would" if explained else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="errors",
        control=f"errors spread independently of the true class: {expected:.0%} within",
    )
