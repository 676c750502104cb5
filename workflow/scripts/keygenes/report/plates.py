"""A figure's three files: for print (SVG), for slides (PNG), and the table that it draws (TSV)."""

from keygenes.core.tables import write_tsv
from keygenes.report.style import save_figure


def save_plate(figure, table, paths, *, simulated):
    """Write a figure and the table that it draws, each atomically, equal bytes for equal input.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    table : pandas.DataFrame
    paths : sequence of 3 path-like
        The SVG, the PNG and the TSV.
    simulated : bool or str
        If true, the figure carries a mark and the table a column that says so.
    """
    svg, png, tsv = paths
    save_figure(figure, svg, png, simulated=simulated)
    write_tsv(table, tsv, simulated=simulated)
