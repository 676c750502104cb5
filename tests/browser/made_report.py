"""A made-up report folder of 20,000 genes, two tasks and names that would do harm if they could."""

import numpy as np
import pandas as pd
import report_tables as tables

from keygenes.evidence.gene_table import explained_columns
from keygenes.report.charts import chart_spec
from keygenes.report.contents import figure_title
from keygenes.report.figures_cosine import figure4_cosine
from keygenes.report.folder import copy_figure, write_assets, write_packed
from keygenes.report.gene_data import class_unit, gene_details, gene_rows
from keygenes.report.page import write_page
from keygenes.report.plates import save_plate

TASKS = {"dose": ["0", "1.25", "25"], "level": ["low", "<b onclick=stop()>high</b>"]}
TRACKS = ("wilcoxon", "detection", "attention_received", "attention_residual", "rollout")
LAYERS, HEADS = 6, 4
EVIL = "<img src=x onerror=document.title='broken'>"
N_GENES = 20_000


def gene_tables(classes, seed):
    """Return a wide gene table and the tables behind what opens for a gene."""
    rng = np.random.default_rng(seed)
    ids = [f"ENSG{i:011d}" for i in range(N_GENES)]
    symbols = ["MDM2", EVIL, "CDKN1A", *(f"GENE{i}" for i in range(3, N_GENES))]
    table = pd.DataFrame({"ensembl_id": ids, "symbol": symbols, "n_cells": 100})
    table["in_p53"] = table["symbol"].isin(["MDM2", "CDKN1A"])
    table["group"] = rng.choice(classes, N_GENES)
    for name in ("log2fc", "p_adj", "mean", "mean_reference"):
        table[name] = rng.random(N_GENES)
    for track in TRACKS:
        table[f"{track}_score"] = rng.random(N_GENES)
        rank = table[f"{track}_score"].rank(ascending=False).astype("Int64")
        table[f"{track}_rank"] = rank.where(rng.random(N_GENES) > 0.1)
        table[f"{track}_q"] = rng.random(N_GENES)
        table[f"{track}_n"] = pd.array([100] * N_GENES, "Int64")
    table = table.sort_values(["attention_received_rank", "ensembl_id"], ignore_index=True)
    long = pd.DataFrame({"ensembl_id": np.repeat(ids, len(classes))})
    long["class"] = pd.Categorical(classes * N_GENES, classes)
    ranks = long.assign(n_cells=40, rank_mean=rng.uniform(1, 900, len(long)), rank_sd=50.0)
    tests = long.rename(columns={"class": "group"}).assign(reference="rest", log2fc=0.5, p_adj=0.01)
    tests = tests.assign(n_cells=480, n_reference=960)
    heads = pd.DataFrame({"ensembl_id": np.repeat(ids, LAYERS * HEADS), "n_cells": 100})
    heads["layer"] = np.tile(np.repeat(np.arange(1, LAYERS + 1), HEADS), N_GENES)
    heads["head"] = np.tile(np.arange(1, HEADS + 1), LAYERS * N_GENES)
    heads["mean"] = rng.random(len(heads))
    absent = heads["ensembl_id"] == ids[2]  # no test cell has it
    return table, tests, ranks[ranks["ensembl_id"] != ids[2]], heads[~absent]


def make_report(folder):
    """Write the report; return its page."""
    sections = []
    for seed, (task, classes) in enumerate(TASKS.items()):
        table, tests, ranks, heads = gene_tables(classes, seed)
        explained = explained_columns(table, "made up", {"p53": "made up"})
        unit = class_unit({"column": "dose_um"}, classes)
        of = {"regime": "last_layer", "unit": unit}
        for name, value in (
            (f"genes.{task}", gene_rows(table, explained, unit)),
            (f"details.{task}", gene_details(table, explained, tests, ranks, heads, **of)),
        ):
            write_packed(value, name, folder / f"report/data/{name}.js")
    cosine = tables.cosine_table().assign(spearman=0.9, jensen_shannon=0.01)
    figure = folder / "figures/level/figure4_cosine"
    figure.parent.mkdir(parents=True)
    paths = [figure.with_name(f"{figure.name}.{kind}") for kind in ("svg", "png", "tsv")]
    save_plate(figure4_cosine(cosine, task="level"), cosine, paths, simulated=True)
    stem = "figures/level/figure4_cosine"
    kind, (width, height) = copy_figure(figure, folder / "report" / stem)
    spec = chart_spec("figure4_cosine", cosine, {"level": TASKS["level"]})
    write_packed({"level/figure4_cosine": spec}, "charts", folder / "report/data/charts.js")
    times = {"heads": ["rule", "jobs"], "rows": [["finetune", "20"]]}
    write_packed(times, "run_times", folder / "report/data/run_times.js")
    write_assets(folder / "report/assets")
    shown = {"stem": stem, "source": f"{stem}.{kind}", "width": width, "height": height}
    shown |= {"chart": "level/figure4_cosine", "title": figure_title("figure4_cosine")}
    shown |= {"caption": f"Heads of {EVIL}. Seeds: 3."}
    sections = [
        {"title": "Attention", "figures": [shown]},
        {"title": "All genes, all tracks", "text": "Pick one.", "gene_tasks": list(TASKS)},
        {"title": "Verdicts", "claims": tables.claims_table()},
        {"title": EVIL, "tables": [("Key genes.", table.head(60), "evidence/level/genes.parquet")]},
    ]
    write_page(
        folder / "report/index.html",
        title="made up: which genes does the model look at?",
        study="made up",
        simulated="no cell is real",
        answer=["Which genes? These.", f"Is it real? {EVIL}"],
        headline=[("cells in the study", "1,440", "made up"), (EVIL, EVIL, EVIL)],
        sections=sections,
        methods=["Cells were made up."],
        references=[("author2020", "Author A. (2020). Title.", "https://doi.org/10.1000/1")],
        config_yaml="study: made up\n",
        versions={"keygenes": "0.1.0"},
        provenance={"config sha256": "0" * 64},
    )
    return folder / "report/index.html"
