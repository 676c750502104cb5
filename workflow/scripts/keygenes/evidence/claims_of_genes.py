"""Tests of claims about genes, and about other inputs: tables in, a verdict out.

Where genes are counted or placed, the study with nothing behind it has the names of genes
exchanged among genes detected as often (deciles of the cells that express them), in all lists
alike: attention is summed over cells, so that detection alone puts genes first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.stats

from keygenes.evidence.claim_tables import (
    NotTestable,
    in_gene_set,
    in_group,
    input_row,
    ranked_genes,
    scorecard_row,
    standard_error,
)
from keygenes.evidence.claims_of_accuracy import by_chance
from keygenes.evidence.outcomes import (
    ALPHA,
    N_DRAWS,
    Found,
    Margin,
    Null,
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
from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED

SEEDS = "seeds"
NAMES = "names exchanged among genes detected as often"
RECURS = 0.5  # Spearman between the rankings of two trainings, from which on a ranking is one


def strata_of(n_cells):
    """Return each gene's decile of detection: int array [n_genes]."""
    edges = np.unique(np.quantile(n_cells, np.arange(0.1, 0.95, 0.1)))
    return np.searchsorted(edges, n_cells, side="right")


def exchanged(flags, strata, shown, n_draws):
    """Return flags of the genes `shown`, dealt anew within strata: bool [n_draws, n_shown].

    Parameters
    ----------
    flags : bool array [n_genes]
    strata : int array [n_genes]
    shown : int array [n_shown], without repeats
    """
    rng = np.random.default_rng(0)
    dealt = np.zeros((n_draws, len(shown)), bool)
    for stratum in np.unique(strata[shown]):
        mine, all_of_it = np.flatnonzero(strata[shown] == stratum), strata == stratum
        flagged = int(flags[all_of_it].sum())
        n = rng.hypergeometric(flagged, all_of_it.sum() - flagged, len(mine), size=n_draws)
        order = rng.random((n_draws, len(mine))).argsort(1).argsort(1)
        dealt[:, mine] = order < n[:, None]
    return dealt


@dataclass(frozen=True)
class Counts:
    """How many of the first genes are flagged, in the study (first) and in draws [1 + n_draws].

    own : the list itself; runs [n_seeds, 1 + n_draws]; controls {name: counts or None}.
    p, and the controls' p: of as many or more under the draws.
    """

    own: np.ndarray
    p: np.ndarray
    expected: float
    runs: np.ndarray
    runs_p: np.ndarray
    controls: dict
    n_genes: int

    def notes(self, n_top):
        """Return what the control tracks say, as text."""
        return [
            f"{name} not in this study"
            if found is None
            else f"{name}: {found[0][0]} of {n_top} (p = {found[1][0]:.2g})"
            for name, found in self.controls.items()
        ]

    def explain(self):
        """Return whether some control has no more than by chance, per study; and in which."""
        known = {name: found for name, found in self.controls.items() if found is not None}
        none = np.array([found[1] > ALPHA for found in known.values()]).reshape(-1, len(self.own))
        return none.any(0), [name for name, of in zip(known, none, strict=True) if of[0]]


def counted(tables, task, lists, n_top, flag):
    """Return the `Counts` of flagged genes among the first of a track.

    Parameters
    ----------
    lists : (regime, track, [control tracks])
    flag : function of a table of genes, bool array
    """
    regime, track, controls = lists
    own, seeds = ranked_genes(tables, task, track, regime)
    others = {}
    for name in controls:
        try:
            others[name] = ranked_genes(tables, task, name, regime)[0]
        except NotTestable:
            others[name] = None
    frames = [own, *seeds.values(), *(frame for frame in others.values() if frame is not None)]
    genes = pd.concat(frames, ignore_index=True).drop_duplicates("ensembl_id")
    index = pd.Index(genes["ensembl_id"])
    tops = [index.get_indexer(frame["ensembl_id"].head(n_top)) for frame in frames]
    shown = np.unique(np.concatenate(tops))
    flags = flag(genes)
    drawn = exchanged(flags, strata_of(genes["n_cells"].to_numpy()), shown, N_DRAWS)
    drawn = np.vstack([flags[shown], drawn])
    counts = [drawn[:, np.searchsorted(shown, top)].sum(1) for top in tops]
    found = [(count, upper_p(count, count[1:].astype(float))) for count in counts]
    n_seeds = 1 + len(seeds)
    known = iter(found[n_seeds:])
    return Counts(
        own=found[0][0],
        p=found[0][1],
        expected=float(found[0][0][1:].mean()),
        runs=np.array([count for count, _ in found[1:n_seeds]]).reshape(-1, 1 + N_DRAWS),
        runs_p=np.array([p for _, p in found[1:n_seeds]]).reshape(-1, 1 + N_DRAWS),
        controls={name: None if of is None else next(known) for name, of in others.items()},
        n_genes=len(own),
    )


def group_leads(tables, task, *, regime, track, genes, n_top, count, controls):
    """Test whether as many of a track's first genes belong to a group as is claimed.

    Holds if `count` or more do, in every training too, and more than by chance; in part if only
    more than by chance (p <= 0.05), or if a control track has no more than by chance: its
    correction explains them. p, null: names exchanged among genes detected as often.
    """
    found = counted(
        tables, task, (regime, track, controls), n_top, lambda t: in_group(t["symbol"], genes)
    )
    more = found.p <= ALPHA
    so = (found.own >= count) & more
    explained, names = found.explain()
    verdicts = graded(
        so,
        more,
        runs=np.where(so, found.runs >= count, found.runs_p <= ALPHA),
        explained=explained,
    )
    interval, unit = over_models(found.runs[:, 0], f"of the first {n_top}", SEEDS)
    return outcome(
        verdicts[0],
        f"{found.own[0]} of the first {n_top} genes, {found.expected:.1f} among genes detected as "
        "often" + (f"; no more than chance by {listed(names)}" if names and more[0] else ""),
        Found(found.own[0], unit, found.n_genes, "genes", interval, found.p[0]),
        null=null_of(NAMES, verdicts[1:]),
        control="; ".join(found.notes(n_top)) or "none",
    )


def group_share(tables, task, *, regime, track, genes, least):
    """Test whether a group of genes takes at least some share of all attention.

    Holds from `least` on, in every training too, in part where it is less but more than uniform
    attention would give the group's tokens, and more than other genes detected as often take
    (p <= 0.05). p, null: names exchanged among these.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    flags = in_group(frame["symbol"], genes)
    strata = strata_of(frame["n_cells"].to_numpy())
    drawn = exchanged(flags, strata, np.arange(len(frame)), N_DRAWS // 5)
    drawn = np.vstack([flags, drawn]).astype(np.float32)

    def share(table, column="score"):
        scores = table.set_index("ensembl_id")[column].reindex(frame["ensembl_id"]).fillna(0)
        return drawn @ scores.to_numpy() / scores.sum()

    value, uniform = share(frame), share(frame, "n_cells")
    runs = np.array([share(table) for table in seeds.values()]).reshape(-1, len(drawn))
    p = upper_p(value, value[1:])
    more = (value > uniform) & (p <= ALPHA)
    so = (value >= least) & more
    verdicts = graded(so, more, runs=np.where(so, runs >= least, runs > uniform))
    interval, unit = over_models(runs[:, 0], "share of attention", SEEDS)
    return outcome(
        verdicts[0],
        f"{value[0]:.0%} of all attention, {uniform[0]:.0%} of all tokens, "
        f"{value[1:].mean():.0%} of the attention by genes detected as often",
        Found(value[0], unit, flags.sum(), "genes of the group", interval, p[0]),
        null=null_of(NAMES, verdicts[1:]),
        control=f"uniform attention would give {uniform[0]:.0%}",
    )


def gene_position(tables, task, *, regime, track, gene, position, near, controls, control_regimes):
    """Test whether a gene stands at a place of a track.

    Holds if it is among the first `near`, in every training too, and at the place or with the
    place within the range of trainings; in part if only among the first `near`, or if it is not
    among them on a control track, or is among them in a control regime too, which has nothing to
    do with the drug. p, null: the gene's name given to each gene detected as often.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    mine = np.flatnonzero((frame["symbol"] == gene).to_numpy())
    if not len(mine):
        raise NotTestable(f"{gene} is in no encoded cell (not expressed, or not in the vocabulary)")
    strata = strata_of(frame["n_cells"].to_numpy())
    others = np.setdiff1d(np.flatnonzero(strata == strata[mine[0]]), mine[0])
    at = np.r_[mine[0], others]  # the gene, then those that its name could be of
    ids = frame["ensembl_id"].to_numpy()[at]

    def places(table):
        return pd.Index(table["ensembl_id"]).get_indexer(ids) + 1.0

    own = at + 1.0
    runs = np.array([places(table) for table in seeds.values()]).reshape(-1, len(at))
    runs = np.where(runs > 0, runs, np.inf)
    notes, explained, names = [], np.zeros(len(at), bool), []
    for name, of, track_of in [
        *((name, regime, name) for name in controls),
        *((name, name, track) for name in control_regimes),
    ]:
        try:
            other = places(ranked_genes(tables, task, track_of, of)[0])
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        ahead = (other > 0) & (other <= near)
        decides = ahead == (name in control_regimes)
        explained, names = explained | decides, names + ([name] if decides[0] else [])
        place = int(other[0])
        notes.append(f"{name}: place {place:,}" if place else f"{name}: not scored")
    first = own <= near
    low, high = (runs.min(0), runs.max(0)) if len(runs) else (own, own)
    there = (own == position) | ((low <= position) & (position <= high))
    verdicts = graded(first & there, first, runs=runs <= near, explained=explained)
    known = [place for place in runs[:, 0] if np.isfinite(place)]
    interval, unit = over_models(known, "place among all genes", SEEDS)
    return outcome(
        verdicts[0],
        f"{gene} is at place {int(own[0]):,}"
        + (f"; decided by {listed(names)}" if names and first[0] else ""),
        Found(own[0], unit, len(frame), "genes", interval, (own <= own[0]).mean()),
        null=null_of(NAMES, verdicts),
        control="; ".join(notes) or "none",
    )


def recurs(seeds):
    """Return whether the rankings of single trainings agree, and the least Spearman of two.

    (False, NaN) of a single one: whether it would come again is not known.
    """
    scores = [table.set_index("ensembl_id")["score"] for table in seeds.values()]
    found = []
    for i, one in enumerate(scores):
        for other in scores[:i]:
            both = pd.concat([one, other], axis=1, join="inner")
            found.append(scipy.stats.spearmanr(both.iloc[:, 0], both.iloc[:, 1]).statistic)
    least = min(found, default=np.nan)
    return bool(least >= RECURS), float(least)


def _recurrence(seeds, n_genes):
    """Return whether a ranking recurs, a clause where not, and how often random rankings do."""
    again, least = recurs(seeds)
    chance = scipy.stats.norm.sf(RECURS * np.sqrt(max(n_genes - 1, 1)))
    if again:
        return True, "", chance
    reason = (
        "there is one training, so whether its ranking would come again is not known"
        if np.isnan(least)
        else f"rankings of single trainings hardly agree (Spearman {least:.2f})"
    )
    return False, f"; {reason}", chance


RANDOM = "a random ranking in every training"


def _as_unlike(share):
    return f"one random ranking for all trainings is as unlike {share:.0%} of the time"


def _share_within(found, n, most):
    """Return the verdict on a share of at most `most`, by its exact 90 % interval: str array."""
    found = np.asarray(found)
    high = scipy.stats.beta.ppf(1 - ALPHA, found + 1, np.maximum(n - found, 1e-9))
    high = np.where(found >= n, 1.0, high)
    low = np.where(
        found > 0, scipy.stats.beta.ppf(ALPHA, np.maximum(found, 1e-9), n - found + 1), 0.0
    )
    return np.select([high <= most, low > most], [HOLDS, FAILS], UNDECIDED)


def lists_differ(tables, task, *, regime, track, against, n_top, n_against, most, controls):
    """Test whether the first `n_top` genes of a track are hardly among `n_against` of another.

    A claim of no difference: holds if the share that is in both is at most `most` with its whole
    90 % interval (exact), fails if the interval lies above, else undecided; in part if a control
    track in place of `against` shares more than `most`. Random rankings share nothing either, so
    the track's own trainings must agree (Spearman of 0.5 or more between any two), else nothing
    is decided. p: of sharing `most` or more. Null: a random ranking in every training.
    """
    frame, seeds = ranked_genes(tables, task, track, regime)
    n = min(n_top, n_against)

    def shared(table, name):
        other = ranked_genes(tables, task, name, regime)[0]
        both = table[table["ensembl_id"].isin(other["ensembl_id"])]
        first = other[other["ensembl_id"].isin(both["ensembl_id"])]["ensembl_id"].head(n_against)
        return int(both["ensembl_id"].head(n_top).isin(first).sum()), len(both)

    found, n_both = shared(frame, against)
    again, clause, chance_again = _recurrence(seeds, n_both)
    counts = [shared(table, against)[0] for table in seeds.values()]
    interval, unit = over_models(counts, f"of {n} genes shared", SEEDS)
    notes, explained = [], []
    for name in controls:
        try:
            others = shared(frame, name)[0]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        explained += [name] if others > most * n else []
        notes.append(f"{name}: {others} of {n} shared")
    possible = np.arange(n + 1)
    share = scipy.stats.hypergeom.pmf(possible, n_both, n_against, n_top)
    verdict = unless(_share_within(found, n, most), bool(explained))
    like_once = share[_share_within(possible, n, most) == HOLDS].sum()
    like = like_once * chance_again
    return outcome(
        verdict if again or str(verdict) == FAILS else UNDECIDED,
        f"{found} of {n} are shared with {against}, {n_top * n_against / n_both:.1f} by chance; "
        f"claimed are at most {most:.0%}"
        + (f"; {listed(explained)} shares more" if explained else "")
        + clause,
        Found(found, unit, n_both, "genes", interval, scipy.stats.binom.cdf(found, n, most)),
        null=Null(RANDOM, 0.0 if explained else float(like), float(like) if explained else 0.0),
        control="; ".join([*notes, _as_unlike(like_once)]),
    )


def top_is_unchanged(tables, task, *, n_top, fdr, min_abs_log2fc, most):
    """Test whether the most attended genes are not differentially expressed.

    Holds if the share that is lies at or below `most` with its whole 90 % interval (exact), and
    below that of all genes (p <= 0.05): where few genes change at all, random ones do not either.
    In part if only the first, fails if the interval lies above `most`, else undecided. p: of as
    few among random genes (hypergeometric). Null: a random ranking.
    """
    table = tables["attended"][task].sort_values("attention_rank")
    changed = ((table["p_adj"] < fdr) & (table["log2fc"].abs() >= min_abs_log2fc)).to_numpy()
    n, possible = min(n_top, len(table)), np.arange(min(n_top, len(table)) + 1)
    found = int(changed[:n].sum())
    chance = scipy.stats.hypergeom(len(table), int(changed.sum()), n)
    verdicts = np.where(
        (_share_within(possible, n, most) == HOLDS) & (chance.cdf(possible) > ALPHA),
        PART,
        _share_within(possible, n, most),
    )
    share = chance.pmf(possible)
    return outcome(
        verdicts[found],
        f"{found} of the first {n} are differentially expressed, {n * changed.mean():.1f} by "
        f"chance; claimed are at most {most:.0%}",
        Found(
            found,
            f"of the first {n}; seeds pooled, no interval",
            len(table),
            "genes",
            p=chance.cdf(found),
        ),
        null=Null(
            "a random ranking",
            float(share[verdicts == HOLDS].sum()),
            float(share[verdicts == PART].sum()),
        ),
        control=f"all genes: {changed.mean():.0%} are differentially expressed",
    )


def uncorrelated(tables, task, *, regime, track, against, metric, margin):
    """Test whether a track has nothing to do with another, by a correlation of the scorecard.

    A claim of no difference, tested on Fisher's z: holds if the 90 % interval lies within
    `margin` of 0, fails if all of it lies outside, else undecided. Random rankings are
    uncorrelated too, so the track's own trainings must agree (Spearman of 0.5 or more between any
    two), else nothing is decided. p: of the two one-sided tests. Null: a random ranking in every
    training.
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
    again, clause, chance_again = _recurrence(
        ranked_genes(tables, task, track, regime)[1], row["n_genes"]
    )
    within = Margin(0.0, float(np.arctanh(margin)))
    verdict, p, like_once = UNDECIDED, np.nan, 0.0
    if np.isfinite([low, high]).all() and -1 < low <= high < 1:
        error, _ = standard_error(np.arctanh(low), np.arctanh(high), 10**6)
        verdict = str(equivalent(np.arctanh(value), error, 10**6, within))
        p = float(equivalence_p(np.arctanh(value), error, 10**6, within))
        random = by_chance(0.0, error, 10**6)
        like_once = (equivalent(random, error, 10**6, within) == HOLDS).mean()
    return outcome(
        verdict if again or verdict == FAILS else UNDECIDED,
        f"the {metric.replace('_', ' ')} with {against} is {value:.2f}; claimed is 0 within "
        f"{margin:g}" + clause,
        Found(
            value,
            "correlation" + ("; 95 % interval" if np.isfinite(low) else "; no interval"),
            row["n_genes"],
            "genes",
            (low, high),
            p if again else np.nan,
        ),
        null=Null(RANDOM, float(like_once * chance_again), 0.0),
        control=(
            "detection, mean expression and mean rank are held fixed; "
            if metric.startswith("partial")
            else ""
        )
        + _as_unlike(like_once),
    )


def targets_in_top(
    tables, task, *, regime, track, gene_set, n_top, count, tolerance, controls, matched
):
    """Test whether as many of a track's first genes are in a gene set as is claimed.

    Holds if exactly `count` are, or the range over trainings includes it, within `tolerance` in
    every one; in part within `tolerance`, or if chance does as well (p > 0.05), or if a control
    track has no more than by chance. p: of gene sets matched on detection and rank (the
    scorecard's, of metric `matched`) or, where it has none, as in the null: names exchanged among
    genes detected as often.
    """
    found = counted(
        tables,
        task,
        (regime, track, controls),
        n_top,
        lambda table: in_gene_set(tables, task, table["ensembl_id"], gene_set),
    )
    p, notes = found.p.copy(), found.notes(n_top)
    try:
        where = {"track": track, "regime": regime, "aspect": "truth", "against": gene_set}
        p[0] = scorecard_row(tables, task, **where, metric=matched)["matched_p"]
        notes.insert(0, f"sets matched on detection and rank ({matched}): p = {p[0]:.2g}")
    except NotTestable:
        notes.insert(0, f"matched sets not in this study; genes detected as often: p = {p[0]:.2g}")
    explained, names = found.explain()
    chance = ~(p <= ALPHA)
    names = [*(["matched sets"] if chance[0] else []), *names]
    near = np.abs(found.own - count) <= tolerance
    if len(found.runs):
        inside = (found.runs.min(0) <= count) & (count <= found.runs.max(0))
    else:
        inside = np.zeros_like(near)
    verdicts = graded(
        near & ((found.own == count) | inside),
        near,
        runs=np.abs(found.runs - count) <= tolerance,
        explained=chance | explained,
    )
    interval, unit = over_models(found.runs[:, 0], f"of the first {n_top}", SEEDS)
    return outcome(
        verdicts[0],
        f"{found.own[0]} of the first {n_top} genes, {found.expected:.1f} among genes detected as "
        "often" + (f"; no more than chance by {listed(names)}" if names and near[0] else ""),
        Found(found.own[0], unit, found.n_genes, "genes", interval, p[0]),
        null=null_of(NAMES, verdicts[1:]),
        control="; ".join(notes),
    )


# Other inputs


def input_changes(tables, task, *, regime, against, measure, direction, controls):
    """Test whether a measure goes 'up' or 'down' with another input: equally long cells, say.

    Reads table 'input_length', which holds a regime against its counterpart on the cells as they
    are. Holds if the interval of the difference lies on that side of 0, in part if it is as large
    under a control regime; undecided without an interval. p: one-sided, of no difference. Null:
    no difference.

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
    low, high = sorted(sign * np.array([row["difference_low"], row["difference_high"]]))
    notes, rivals = [], {}
    for name in controls:
        try:
            rivals[name] = input_row(tables, task, name, against, measure)["difference"]
        except NotTestable:
            notes.append(f"{name} not in this study")
            continue
        notes.append(f"{name}: {rivals[name]:+.2g}")
    explained = [name for name, other in rivals.items() if sign * other >= sign * value]
    best = max((sign * other for other in rivals.values()), default=-np.inf)
    bounded = np.isfinite(low)
    verdict, p, null = UNDECIDED, np.nan, Null("no difference", 0.0, 0.0)
    if bounded:
        error, df = standard_error(low, high, row["n"])
        verdict = graded(low > 0, explained=bool(explained))
        p = scipy.stats.t.sf(sign * value / max(error, 1e-12), df)
        drawn = by_chance(0.0, error, df)
        none = graded(drawn - (sign * value - low) > 0, explained=drawn <= best)
        null = null_of("no difference", none)
    unit = f"difference of {measure}; " + (
        f"95 % interval over {int(row['n'])} {row['n_of']}s" if bounded else "no interval"
    )
    return outcome(
        verdict,
        f"{measure} is {row['value']:.3g} under {regime}, {before:.3g} under "
        f"{row['reference']}"
        + ("; the interval of the difference includes 0" if low <= 0 <= high else "")
        + (f"; as much under {listed(explained)}" if explained else ""),
        Found(
            value,
            unit,
            row["n_cells"],
            "test cells",
            (row["difference_low"], row["difference_high"]),
            p,
        ),
        null=null,
        control="; ".join(notes) or f"{row['reference']}, the regime it is held against",
    )
