"""Whether a regime has learnt its task: what it attends means little if it has not."""

import pandas as pd


def _tested(metrics, regime, metric):
    columns = {"regime": regime, "metric": metric, "split": "test"}
    rows = metrics
    for column, value in columns.items():
        rows = rows[rows[column].astype(str) == value]
    return rows


def over_commonest(metrics, regime):
    """Return the pooled row 'accuracy_over_commonest' of a regime, or None.

    Parameters
    ----------
    metrics : table 'metrics' of one task
    regime : str
    """
    rows = _tested(metrics, regime, "accuracy_over_commonest")
    rows = rows[rows["fold"].isna() & rows["seed"].isna()]
    return rows.iloc[0] if len(rows) else None


def names_one_class(metrics, regime):
    """Return whether every model of a regime names one class for all of its test cells."""
    rows = _tested(metrics, regime, "classes_named")
    rows = rows[rows["fold"].notna()]
    return bool(len(rows)) and bool((rows["value"] <= 1).all())


def has_learnt(metrics, regime):
    """Return whether a regime's accuracy is above the commonest class, interval and all.

    Parameters
    ----------
    metrics : table 'metrics' of one task
    regime : str

    Returns
    -------
    bool or None
        False also where it names one class; None where nothing is known, as of the pretrained
        model or of cells from a single unit.
    """
    if names_one_class(metrics, regime):
        return False
    row = over_commonest(metrics, regime)
    return None if row is None or pd.isna(row["ci_low"]) else bool(row["ci_low"] > 0)


def not_learnt(metrics, regime):
    """Return why a regime counts as not having learnt its task, in words; '' where it does not."""
    if has_learnt(metrics, regime) is not False:
        return ""
    if names_one_class(metrics, regime):
        return "it names one class for every cell"
    row = over_commonest(metrics, regime)
    return (
        f"its accuracy less the commonest class's is {row['value']:+.2f} "
        f"({row['ci_low']:+.2f} to {row['ci_high']:+.2f})"
    )
