"""The figure of attended against expressed genes: a table in, a matplotlib figure out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keygenes.report.panels import add_title, is_finite, spoken
from keygenes.report.style import DOWN, GREY, PALE, UP, add_note, empty_figure, number, styled
from keygenes.report.wording import plural


def _de_colours(genes, fdr):
    significant = (genes.p_adj < fdr).to_numpy()
    up = (genes.log2fc > 0).to_numpy()
    return np.where(significant, np.where(up, UP, DOWN), GREY)


def _ranked_bars(axes, genes, value, texts, *, fdr, members):
    """Draw a short ranked list as bars with a text behind each, the first gene on top."""
    longest = float(genes[value].max()) if len(genes) else 1.0
    longest = longest if is_finite(longest) and longest > 0 else 1.0
    colours = _de_colours(genes, fdr)
    axes.barh(range(len(genes)), genes[value].fillna(0), color=colours, height=0.72)
    for y, (length, text) in enumerate(zip(genes[value].fillna(0), texts, strict=True)):
        axes.text(length + 0.02 * longest, y, text, va="center", fontsize=6.5, color="#404040")
    axes.set_yticks(range(len(genes)), genes.symbol.astype(str))
    for label, member in zip(axes.get_yticklabels(), members, strict=True):
        label.set_fontweight("bold" if member else "normal")
    axes.set_ylim(len(genes) - 0.4, -0.6)
    axes.set_xlim(0, 1.65 * longest)
    ticks = MaxNLocator(nbins=3).tick_values(0, longest)
    axes.set_xticks(ticks[ticks <= 1.001 * longest])
    axes.tick_params(axis="y", length=0)


@styled
def figure7_attended_vs_de(
    genes, *, task=None, regime=None, comparison=None, fdr=0.05, n_top=10, gene_set=None
):
    """Draw the most attended genes beside the most differentially expressed ones.

    Parameters
    ----------
    genes : pandas.DataFrame
        Columns ensembl_id, symbol, attention_rank, attention, de_rank, log2fc, p_adj,
        abs_statistic, and a boolean column per gene set; all genes, one row each, nulls where a
        gene has no attention or was not tested. With a column group, de_rank is that of the
        class in which the gene stands out most, and log2fc belongs to this class.
    task, regime, comparison : str, optional
        What the numbers are of, e.g. ``comparison="high vs rest"``.
    fdr : float
        Below it a gene counts as differentially expressed.
    n_top : int
        Length of both lists.
    gene_set : str, optional
        Column whose members are set in bold.
    """
    attended = genes.dropna(subset=["attention_rank"]).nsmallest(n_top, "attention_rank")
    expressed = genes.dropna(subset=["de_rank"]).nsmallest(n_top, "de_rank")
    both = genes.dropna(subset=["attention_rank", "de_rank"])
    if attended.empty or expressed.empty:
        return empty_figure("no gene has both attention and a test")

    def members(rows):
        return rows[gene_set].fillna(False).astype(bool) if gene_set else [False] * len(rows)

    figure = Figure(figsize=(8.6, 0.17 * n_top + 1.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1, 1])
    texts = ["not tested" if pd.isna(r) else f"DE rank {r:,.0f}" for r in attended.de_rank]
    _ranked_bars(left, attended, "attention", texts, fdr=fdr, members=members(attended))
    left.set_title(f"{len(attended)} most attended genes", fontweight="bold")
    left.set_xlabel("attention received (min-max scaled)")
    texts = [
        "no attention" if pd.isna(r) else f"attention rank {r:,.0f}"
        for r in expressed.attention_rank
    ]
    _ranked_bars(right, expressed, "abs_statistic", texts, fdr=fdr, members=members(expressed))
    right.set_title(f"{len(expressed)} most differentially expressed", fontweight="bold")
    right.set_xlabel("|z| of the rank-sum test")

    n = len(both)
    middle.scatter(both.attention_rank, both.de_rank, s=2, c=PALE, lw=0, rasterized=True)
    overlap = attended[attended.ensembl_id.isin(expressed.ensembl_id)]
    lists = (
        (attended.drop(overlap.index), "s", 18, "most attended"),
        (expressed[~expressed.ensembl_id.isin(overlap.ensembl_id)], "^", 18, "most DE"),
        (overlap, "*", 70, "both"),
    )
    for rows, marker, area, name in lists:
        rows = rows.dropna(subset=["attention_rank", "de_rank"])
        middle.scatter(
            rows.attention_rank,
            rows.de_rank,
            s=area,
            c=_de_colours(rows, fdr),
            marker=marker,
            lw=0.5,
            edgecolor="white",
            zorder=3,
            clip_on=False,
        )
        middle.scatter([], [], s=18, c="black", marker=marker, label=name)
    for row in overlap.itertuples():
        middle.annotate(
            row.symbol,
            (row.attention_rank, row.de_rank),
            (4, 4),
            textcoords="offset points",
            fontsize=6.5,
            zorder=4,
        )
    highest = float(max(both.attention_rank.max(), both.de_rank.max(), 10)) if n else 10.0
    ticks = [float(10**e) for e in range(int(np.log10(highest)) + 1)]
    for axis, scale, limits in (
        (middle.xaxis, middle.set_xscale, middle.set_xlim),
        (middle.yaxis, middle.set_yscale, middle.set_ylim),
    ):
        scale("log")
        limits(0.8, 1.3 * highest)
        axis.set_ticks(ticks, [f"{t:,.0f}" for t in ticks])
        axis.minorticks_off()
    middle.set(xlabel="rank by attention", ylabel="rank by differential expression")
    middle.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=3,
        handletextpad=0.1,
        columnspacing=0.6,
        borderaxespad=0.1,
    )
    for text, colour in (("DE, up", UP), ("DE, down", DOWN), ("not DE", GREY)):
        left.barh(0, 0, color=colour, label=text)
    significant = both.p_adj < fdr
    base, top = significant.mean(), (attended.p_adj < fdr).mean()
    rho = np.corrcoef(both.attention_rank.rank(), both.de_rank.rank())[0, 1] if n > 2 else np.nan
    rho = round(rho, 2) + 0.0  # no "-0.00"
    expected = len(attended) * len(expressed) / n if n else np.nan
    heading = "Attended against differentially expressed genes"
    add_title(figure, f"{heading}{f', regime {spoken(regime)}' if regime else ''}", task)
    of_set = f" Bold: in {gene_set.removeprefix('in_')}." if gene_set else ""
    if "group" in genes:
        of_set = f" Up, down: in the class that differs most from the rest.{of_set}"
    test = f" ({comparison})" if comparison else ""
    add_note(
        figure,
        f"Wilcoxon rank-sum{test}, DE: Benjamini-Hochberg FDR < {fdr:g}. n = {n:,} genes with both"
        f" ranks, of which {100 * base:.0f} % are DE (the base rate); of the {len(attended)} most"
        f" attended {100 * top:.0f} %. The lists have {plural(len(overlap), 'gene')} in common,"
        f" {number(expected, 2)} expected by chance. Spearman's ρ of all ranks: {rho:.2f}.{of_set}",
        legend=left.get_legend_handles_labels(),
    )
    return figure


def gene_plates(tables, params, task):
    """Return Figure 7 and its numbers, for `core.figures`."""
    gene_set = params["gene_set"]
    figure = figure7_attended_vs_de(
        tables["attended"],
        task=task,
        regime=params["regime"],
        comparison="each class vs the rest",
        fdr=params["fdr"],
        gene_set=f"in_{gene_set}" if gene_set else None,
    )
    return {"figure7_attended_vs_de": (figure, tables["attended"])}
