"""Tests of claims about the genes that lead a ranking: tables in, a verdict out.

Where genes are counted or placed, the study with nothing behind it has the names of genes
exchanged among genes detected as often (deciles of the cells that express them), in all lists
alike: attention is summed over cells, so that detection alone puts genes first.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from keygenes.evidence.claim_tables import (
    NotTestable,
    in_gene_set,
    in_group,
    ranked_genes,
    scorecard_row,
)
from keygenes.evidence.outcomes import (
    ALPHA,
    N_DRAWS,
    Found,
    graded,
    listed,
    null_of,
    outcome,
    over_models,
    upper_p,
)

SEEDS = "seeds"
NAMES = "names exchanged among genes detected as often"


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
    controls: dict[str, tuple[np.ndarray, np.ndarray] | None]
    n_genes: int

    def notes(self, n_top: int) -> list[str]:
        """Return what the control tracks say, as text."""
        return [
            f"{name} not in this study"
            if found is None
            else f"{name}: {found[0][0]} of {n_top} (p = {found[1][0]:.2g})"
            for name, found in self.controls.items()
        ]

    def explain(self) -> tuple[np.ndarray | np.bool, list[str]]:
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
