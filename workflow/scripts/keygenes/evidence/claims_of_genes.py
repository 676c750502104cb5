"""Tests of claims about genes, and about other inputs: tables in, a verdict out."""

import numpy as np
import scipy.stats

from keygenes.evidence.claim_tables import (
    NotTestable,
    in_gene_set,
    in_group,
    input_row,
    ranked_genes,
    scorecard_row,
)
from keygenes.evidence.outcomes import ALPHA, graded, listed, outcome, over_seeds, unless


def _in_top(flags, n_top):
    """Return how many of the first genes are flagged, how many by chance, and p (one-sided).

    p is hypergeometric: it takes genes as independent draws.
    """
    n_top, members = min(n_top, len(flags)), int(flags.sum())
    found = int(flags[:n_top].sum())
    p = scipy.stats.hypergeom.sf(found - 1, len(flags), members, n_top)
    return found, n_top * members / len(flags), float(p)


def _controls_in_top(tables, task, regime, controls, n_top, flag):
    """Return what control tracks say: text, and those where no more is found than by chance."""
    parts, explained = [], []
    for name in controls:
        try:
            found, expected, p = _in_top(flag(ranked_genes(tables, task, name, regime)[0]), n_top)
        except NotTestable:
            parts.append(f"{name} not in this study")
            continue
        explained += [name] if p >= ALPHA else []
        parts.append(f"{name}: {found} of {n_top} (p = {p:.2g})")
    return parts, explained


def group_leads(tables, task, *, regime, track, genes, n_top, count, controls):
    """Test whether as many of a track's first genes belong to a group as is claimed.

    Holds if `count` or more do (or that many within the range over seeds), in part if more than
    by chance, or if a control track has no more than by chance: its correction explains them.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def flag(table):
        return in_group(table["symbol"], genes)

    found, expected, p = _in_top(flag(frame), n_top)
    counts = [_in_top(flag(table), n_top)[0] for table in seeds.values()]
    interval, unit = over_seeds(counts, f"of the first {n_top}")
    notes, explained = _controls_in_top(tables, task, regime, controls, n_top, flag)
    reached = found >= count or (interval is not None and interval[1] >= count)
    return outcome(
        unless(graded(reached, p < ALPHA), bool(explained)),
        found,
        f"{found} of the first {n_top} genes, {expected:.1f} by chance"
        + (f"; no more than chance by {listed(explained)}" if explained and p < ALPHA else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        p=p,
        control="; ".join(notes) or "none",
    )


def group_share(tables, task, *, regime, track, genes, least):
    """Test whether a group of genes takes at least some share of all attention.

    Holds from `least` on, in part where it is less but more than uniform attention would give
    the group's tokens; no better than in part if no more than that.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def share(table, column="score"):
        return table.loc[in_group(table["symbol"], genes), column].sum() / table[column].sum()

    value, uniform = share(frame), share(frame, "n_cells")
    interval, unit = over_seeds([share(t) for t in seeds.values()], "share of attention")
    more = value > uniform
    return outcome(
        unless(graded(value >= least, more), not more),
        value,
        f"{value:.0%} of all attention, {uniform:.0%} of all tokens",
        unit=unit,
        interval=interval,
        n=in_group(frame["symbol"], genes).sum(),
        n_of="genes of the group",
        control=f"uniform attention would give {uniform:.0%}",
    )


def _position(frame, gene):
    places = np.flatnonzero((frame["symbol"] == gene).to_numpy())
    return int(places[0]) + 1 if len(places) else None


def gene_position(tables, task, *, regime, track, gene, position, near, controls, control_regimes):
    """Test whether a gene stands at a place of a track.

    Holds if it does (or the range over seeds includes it), in part if it is among the first
    `near`; no better than in part if it is not among them on a control track, or is among them
    in a control regime too, which has nothing to do with the drug.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    place = _position(frame, gene)
    if place is None:
        raise NotTestable(f"{gene} is in no encoded cell (not expressed, or not in the vocabulary)")
    places = [p for p in (_position(table, gene) for table in seeds.values()) if p]
    interval, unit = over_seeds(places, "place among all genes")
    notes, explained = [], []
    for name, of, track_of in [
        *((name, regime, name) for name in controls),
        *((name, name, track) for name in control_regimes),
    ]:
        try:
            other = _position(ranked_genes(tables, task, track_of, of)[0], gene)
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        ahead = other is not None and other <= near
        explained += [name] if ahead == (name in control_regimes) else []
        notes.append(f"{name}: place {other:,}" if other else f"{name}: not scored")
    inside = place == position or (interval is not None and interval[0] <= position <= interval[1])
    return outcome(
        unless(graded(inside, place <= near), bool(explained)),
        place,
        f"{gene} is at place {place:,}"
        + (f"; decided by {listed(explained)}" if explained and (inside or place <= near) else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        control="; ".join(notes) or "none",
    )


def lists_differ(tables, task, *, regime, track, against, n_top, n_against, controls):
    """Test whether the first `n_top` genes of a track are hardly among `n_against` of another.

    Holds if no more are shared than by chance (hypergeometric p of at least 0.05), in part if
    more, but fewer than half of those that could be, fails from half on. A control track stands in
    for `against`; where it shares more than chance, the claim holds in part.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def shared(table, name):
        other = ranked_genes(tables, task, name, regime)[0]
        both = table[table["ensembl_id"].isin(other["ensembl_id"])]
        first = other[other["ensembl_id"].isin(both["ensembl_id"])]["ensembl_id"].head(n_against)
        return (*_in_top(both["ensembl_id"].isin(first).to_numpy(), n_top), len(both))

    found, expected, p, n = shared(frame, against)
    counts = [shared(table, against)[0] for table in seeds.values()]
    most = min(n_top, n_against)
    interval, unit = over_seeds(counts, f"of {most} genes shared")
    notes, explained = [], []
    for name in controls:
        try:
            others, _, p_other, _ = shared(frame, name)
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if p_other < ALPHA else []
        notes.append(f"{name}: {others} shared (p = {p_other:.2g})")
    return outcome(
        unless(graded(p >= ALPHA, found < most / 2), bool(explained)),
        found,
        f"{found} of {most} are shared with {against}, {expected:.1f} by chance"
        + (f"; {listed(explained)} shares more than chance" if explained else ""),
        unit=unit,
        interval=interval,
        n=n,
        n_of="genes",
        p=p,
        control="; ".join(notes) or "none",
    )


def top_is_unchanged(tables, task, *, n_top, fdr, min_abs_log2fc):
    """Test whether the most attended genes are not differentially expressed.

    Holds if they are no more often than all genes (hypergeometric p of at least 0.05), in part
    if more often, but fewer than half of them, fails from half on.
    """
    table = tables["attended"][task].sort_values("attention_rank")
    changed = ((table["p_adj"] < fdr) & (table["log2fc"].abs() >= min_abs_log2fc)).to_numpy()
    found, expected, p = _in_top(changed, n_top)
    return outcome(
        graded(p >= ALPHA, found < n_top / 2),
        found,
        f"{found} of the first {n_top} are differentially expressed, {expected:.1f} by chance",
        unit=f"of the first {n_top}; seeds pooled, no interval",
        n=len(table),
        n_of="genes",
        p=p,
        control=f"all genes: {changed.mean():.0%} are differentially expressed",
    )


def _p_of_correlation(value, low, high):
    """Return the two-sided p of a correlation from its 95 % interval, by Fisher's z."""
    if not np.isfinite([value, low, high]).all() or not -1 < low < high < 1:
        return np.nan
    error = (np.arctanh(high) - np.arctanh(low)) / (2 * scipy.stats.norm.ppf(0.975))
    return float(2 * scipy.stats.norm.sf(abs(np.arctanh(value)) / error))


def uncorrelated(tables, task, *, regime, track, against, metric, weak):
    """Test whether a track has nothing to do with another, by a correlation of the scorecard.

    Holds if its interval includes 0, in part if it is weaker than `weak` either way; a strong
    correlation of the opposite sign is not nothing. A small p speaks against the claim.
    """
    row = scorecard_row(
        tables,
        task,
        track=track,
        regime=regime,
        aspect="expression",
        against=against,
        metric=metric,
    )
    value, low, high = row["value"], row["ci_low"], row["ci_high"]
    p = _p_of_correlation(value, low, high)
    none = low <= 0 <= high if np.isfinite(low) else False
    return outcome(
        graded(none, abs(value) < weak),
        value,
        f"the {metric.replace('_', ' ')} with {against} is {value:.2f}"
        + (", no more than chance" if none else ", more than chance"),
        unit="correlation" + ("; 95 % interval" if np.isfinite(low) else "; no interval"),
        interval=(low, high),
        n=row["n_genes"],
        n_of="genes",
        p=p,
        control="detection, mean expression and mean rank are held fixed"
        if metric.startswith("partial")
        else "none",
    )


def targets_in_top(
    tables, task, *, regime, track, gene_set, n_top, count, tolerance, controls, matched
):
    """Test whether as many of a track's first genes are in a gene set as is claimed.

    Holds if exactly `count` are (or the range over seeds includes it), in part within
    `tolerance`; no better than in part if chance does as well: all genes (hypergeometric), sets
    matched on detection and rank (the scorecard's p of metric `matched`), or, on a control
    track, no more than chance are found. p is that of the matched sets where these are known.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)

    def flag(table):
        return in_gene_set(tables, task, table["ensembl_id"], gene_set)

    found, expected, p = _in_top(flag(frame), n_top)
    counts = [_in_top(flag(table), n_top)[0] for table in seeds.values()]
    interval, unit = over_seeds(counts, f"of the first {n_top}")
    notes, explained = _controls_in_top(tables, task, regime, controls, n_top, flag)
    explained += ["all genes"] if p >= ALPHA else []
    try:
        row = scorecard_row(
            tables,
            task,
            track=track,
            regime=regime,
            aspect="truth",
            against=gene_set,
            metric=matched,
        )
        explained += ["matched sets"] if row["p"] >= ALPHA else []
        p = row["p"]
        notes.insert(0, f"sets matched on detection and rank ({matched}): p = {row['p']:.2g}")
    except NotTestable:
        notes.insert(0, "matched sets not in this study")
    inside = found == count or (interval is not None and interval[0] <= count <= interval[1])
    near = inside or abs(found - count) <= tolerance
    return outcome(
        unless(graded(inside, near), bool(explained)),
        found,
        f"{found} of the first {n_top} genes, {expected:.1f} by chance"
        + (f"; no more than chance by {listed(explained)}" if explained and near else ""),
        unit=unit,
        interval=interval,
        n=len(frame),
        n_of="genes",
        p=p,
        control="; ".join(notes),
    )


# Other inputs


def input_changes(tables, task, *, regime, against, measure, direction, controls):
    """Test whether a measure goes 'up' or 'down' with another input: equally long cells, say.

    Reads table 'input_length', which holds a regime against its counterpart on the cells as they
    are, over the same resamples. Holds if the interval of the difference lies on that side of 0,
    in part if it is as large under a control regime, or if the difference has no interval.

    Parameters
    ----------
    against : str or None
        The second model of measures that compare two.
    """
    row = input_row(tables, task, regime, against, measure)
    value, before = row["difference"], row["value"] - row["difference"]
    sign = 1 if direction == "up" else -1
    if direction == "down" and before <= 0:
        raise NotTestable(
            f"{measure} is {before:.3g} under {row['reference']}: nothing that could go down"
        )
    bounds = sorted(sign * np.array([row["difference_low"], row["difference_high"]]))
    notes, explained = [], []
    for name in controls:
        try:
            other = input_row(tables, task, name, against, measure)["difference"]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if sign * other >= sign * value else []
        notes.append(f"{name}: {other:+.2g}")
    bounded = np.isfinite(bounds[0])
    unit = f"difference of {measure}; " + (
        f"95 % interval over {int(row['n'])} {row['n_of']}s" if bounded else "no interval"
    )
    clear = bounds[0] > 0 if bounded else False
    return outcome(
        unless(graded(clear, not bounded and sign * value > 0), bool(explained)),
        value,
        f"{measure} is {row['value']:.3g} under {regime}, {before:.3g} under "
        f"{row['reference']}"
        + ("; the interval of the difference includes 0" if bounds[0] <= 0 <= bounds[1] else "")
        + (f"; as much under {listed(explained)}" if explained else ""),
        unit=unit,
        interval=(row["difference_low"], row["difference_high"]),
        n=row["n_cells"],
        n_of="test cells",
        control="; ".join(notes) or f"{row['reference']}, the regime it is held against",
    )
