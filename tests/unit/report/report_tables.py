"""Made-up tables with the schemas of the pipeline, small or at their widest."""

import functools
import itertools

import numpy as np
import pandas as pd

from keygenes.core.regimes import BASELINES
from keygenes.core.schemas import TABLES
from keygenes.evidence.gene_sets import find_listed
from keygenes.evidence.primary_tables import primary_row
from keygenes.evidence.track_tests import score_rows, scored, track_table
from keygenes.evidence.verdicts import VERDICTS
from keygenes.inputs.gene_names import KnownGenes
from keygenes.report.panels import pool

DOSES = ["0", "1.25", "2.5", "12.5", "25"]
REGIMES = [
    "frozen",
    "last_layer",
    "full",
    "upstream_freeze6",
    "upstream_freeze5",
    "linear_probe",
    "logistic_genes",
]


def gene_set_table(*symbols, lost=()):
    """Return table 'gene_set' of a set of which the data have `symbols` and lack `lost`."""
    listed = pd.DataFrame({"ensembl_id": None, "symbol": [*symbols, *lost]}, dtype=object)
    return find_listed(listed, KnownGenes([f"ENSG_{s}" for s in symbols], symbols))


def umap_tables(n=600, n_tasks=2, seed=0):
    rng = np.random.default_rng(seed)
    dose = rng.choice(DOSES, n)
    level = np.where(np.isin(dose, ["12.5", "25"]), "high", "low")
    xy = rng.normal(size=(n, 2)) + np.where(level == "high", 3, 0)[:, None]
    cells = [f"cell{i}" for i in range(n)]
    umap = pd.DataFrame({"cell": cells, "umap1": xy[:, 0], "umap2": xy[:, 1]})
    labels = pd.DataFrame({"cell": cells, "dose": dose, "level": level})
    labels["level"] = pd.Categorical(labels.level, ["low", "high"])
    if n_tasks > 2:
        labels["phase"] = rng.choice(["G1", "S", "G2/M"], n)
        labels["cell_type"] = rng.choice(["T <b>cell</b>", "B cell", "monocyte", "NK $x$"], n)
        labels["extreme"] = pd.Series(dose).map({"0": "vehicle", "25": "highest"})
    return umap, labels


def screen_table():
    return pd.DataFrame(
        {
            "dose_um": [0.25, 1.25, 2.5, 12.5, 25, 125, 250],
            "n_cells": [812, 790, 840, 1033, 980, 210, 44],
            "n_vehicle": 1022,
            "n_up": [0, 14, 96, 1204, 1510, 640, 12],
            "n_down": [1, 9, 120, 1630, 2011, 803, 25],
            "n_tested": 9211,
            "selected": [False, True, True, True, True, False, False],
        }
    )


def history_table(
    regimes=("frozen", "last_layer", "full"), folds=(1, 2, 3), seeds=(1,), epochs=5, seed=0
):
    rng = np.random.default_rng(seed)
    rows = []
    for i, regime in enumerate(regimes):
        for fold, s in itertools.product(folds, seeds):
            train = 1.6 * np.exp(-0.15 * (i + 1) * np.arange(epochs)) + rng.normal(0, 0.02, epochs)
            valid = np.maximum(train, 1.05) + 0.03 * np.arange(epochs) * i
            for e in range(epochs):
                rows.append(
                    {
                        "regime": regime,
                        "fold": fold,
                        "seed": s,
                        "epoch": e + 1,
                        "step": 40 * (e + 1),
                        "learning_rate": 5e-5,
                        "train_loss": train[e],
                        "valid_loss": valid[e],
                        "valid_accuracy": 0.6 - 0.3 * (valid[e] - 1.05),
                        "best": e == int(np.argmin(valid)),
                    }
                )
    return pd.DataFrame(rows)


def confusion_table(regimes=REGIMES, classes=DOSES, folds=(1, 2, 3), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for regime in regimes:
        for true in range(len(classes)):
            for predicted in range(len(classes)):
                counts = rng.poisson(140 * np.exp(-abs(true - predicted)), len(folds))
                names = (classes[true], classes[predicted])
                rows += [
                    (regime, fold, 1, *names, n) for fold, n in zip(folds, counts, strict=True)
                ]
                for s in (1, None):  # pooled over folds, for a training seed and over all
                    rows.append((regime, None, s, *names, counts.sum()))
    columns = ["regime", "fold", "seed", "true", "predicted", "n_cells"]
    return pd.DataFrame(rows, columns=columns).astype({"fold": "Int64", "seed": "Int64"})


METRICS = ["accuracy", "balanced_accuracy", "macro_f1", "quadratic_kappa", "mean_absolute_error"]


def metrics_table(
    regimes=(*REGIMES, "majority"),
    folds=(1, 2, 3),
    seeds=(1,),
    seed=0,
    designs=("grouped",),
    unlearnt=(),
):
    """Return table 'metrics'; `unlearnt` regimes name one class and are no better than it."""
    rng = np.random.default_rng(seed)
    covers = "wells and trainings" if len(seeds) > 1 else "wells"
    rows = []
    for design in designs:
        for i, regime in enumerate(regimes):
            for metric in METRICS:
                value = 0.22 if regime == "majority" else 0.45 + 0.02 * i
                value += 0.06 * (design == "random")
                names = {"regime": regime, "design": design, "split": "test", "metric": metric}
                baseline = regime in (*BASELINES, "majority")
                for fold, s in itertools.product(folds, (None,) if baseline else seeds):
                    noisy = value + rng.normal(0, 0.03)
                    run = {"fold": fold, "seed": s, "n_cells": 480, "covers": "wells"}
                    rows.append({**names, **run, "value": noisy})
                n = {"n_cells": 1440, "n_units": 18, "unit": "well"}
                n["covers"] = "wells" if baseline else covers
                for s in (None,) if baseline else (*seeds, None):
                    interval = {"ci_low": value - 0.05, "ci_high": value + 0.05}
                    rows.append({**names, "seed": s, "value": value, **interval, **n})
                if metric != "accuracy" or baseline:
                    continue
                lost = regime in unlearnt
                over = {"value": 0.0 if lost else value - 0.22, "ci_low": -0.02 if lost else 0.1}
                over["ci_high"] = 0.3
                rows.append({**names, **n, **over, "metric": "accuracy_over_commonest"})
                named = {**names, **n, "metric": "classes_named", "value": 1 if lost else 5}
                rows += [{**named, "fold": fold, "seed": s} for fold in folds for s in seeds]
                rows.append(named)
    frame = pd.DataFrame(rows).reindex(columns=TABLES["metrics"].names)
    return frame.astype({"fold": "Int64", "seed": "Int64", "n_units": "Int64"})


def with_differences(metrics, main="full"):
    """Return metrics with the rows accuracy_gain and leak."""
    pooled = pool(metrics[metrics.metric == "accuracy"])
    gains = pooled[pooled.regime != main].assign(metric="accuracy_gain", value=0.1, p=0.01)
    leaks = pooled[pooled.design == "random"].assign(metric="leak", value=0.06, p=0.02)
    return pd.concat([metrics, gains, leaks], ignore_index=True)


def roar_table(tracks=("wilcoxon", "attention_total", "detection"), n_genes=3000):
    rows = []
    for i, track in enumerate(tracks):
        for fraction in (0, 0.01, 0.02, 0.05, 0.1, 0.2):
            accuracy = 0.9 - (i + 1) * fraction
            row = {"track": track, "regime": "full", "seed": None, "fraction": fraction}
            row |= {"n_removed": round(n_genes * fraction), "accuracy": accuracy}
            row |= {"ci_low": accuracy - 0.03, "ci_high": accuracy + 0.03}
            row |= {"n_cells": 1440, "n_units": 18}
            if fraction:
                row |= {"matched": 0.9, "drop": 0.9 - accuracy}
            rows.append(row)
    return pd.DataFrame(rows)


def cosine_table(pairs=None, folds=(1, 2, 3), seeds=(1,), layers=6, heads=4, seed=0):
    rng = np.random.default_rng(seed)
    pairs = pairs or [("full", "frozen"), ("last_layer", "frozen"), ("frozen", "pretrained")]
    rows = []
    for a, b in pairs:
        for fold, s in itertools.product(folds, seeds):
            for layer in range(1, layers + 1):
                for head in range(1, heads + 1):
                    same = b == "pretrained" or (a == "last_layer" and layer < layers)
                    value = 1.0 if same else 0.5 + 0.5 * rng.beta(8, 2)
                    rows.append((a, b, fold, s, layer, head, value, 0.03, 2 * value - 1, 480))
    columns = ["a", "b", "fold", "seed", "layer", "head", "cosine", "sd", "pearson", "n_cells"]
    return pd.DataFrame(rows, columns=columns)


def bounds_table(regimes=("full", "last_layer", "frozen"), cosine=0.97, pearson=0.9):
    rows = [
        (regime, bound, layer, head, value, value - cosine + pearson)
        for regime in regimes
        for bound, value in (("other_seed", cosine), ("split_half", 0.99))
        for layer in range(1, 7)
        for head in range(1, 5)
    ]
    columns = ["regime", "bound", "layer", "head", "cosine", "pearson"]
    return pd.DataFrame(rows, columns=columns).assign(fold=1, seed=2, n_cells=50)


def rank_shift_table(
    pairs=None, folds=(1, 2, 3), seeds=(1,), layers=6, longest=1400, median=683, seed=0
):
    rng = np.random.default_rng(seed)
    pairs = pairs or [("full", "frozen")]
    ranks = np.arange(1, longest + 1)
    n = np.round(480 / (1 + np.exp((ranks - median) / (median / 7)))).astype(int)
    frames = []
    for a, b in pairs:
        for fold, s in itertools.product(folds, seeds):
            every = []
            for layer in range(1, layers + 1):
                base = n * (1 + 2 * np.exp(-ranks / 50)) + 1e-9
                shift = 0.04 * layer * np.exp(-(((ranks - 210) / 90) ** 2)) - 0.02
                new = base * (1 + shift + rng.normal(0, 0.02, longest))
                every.append(
                    pd.DataFrame({"layer": layer, "rank": ranks, "sum_a": new, "sum_b": base})
                )
            table = pd.concat(every)
            total = table.groupby("rank", as_index=False)[["sum_a", "sum_b"]].sum()
            table = pd.concat([table, total.assign(layer=None)])
            table["n_cells"] = n[table["rank"] - 1]
            frames.append(table.assign(a=a, b=b, fold=fold, seed=s))
    frame = pd.concat(frames, ignore_index=True)
    frame["percent_change"] = 100 * (frame.sum_a / frame.sum_b - 1)
    frame["percent_residual"] = frame["percent_change"] / 3
    return frame[frame.n_cells > 0].astype({"layer": "Int64"})


def attended_table(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    symbols = [f"GENE{i:05d}" for i in range(n)]
    symbols[:6] = ["MT-ND4", "MT-ATP6", "MDM2", "RPS14", "CDKN1A", "AC012345.1"]
    attention = rng.gamma(0.3, size=n)
    statistic = rng.normal(0, 2.0, n)
    attention[:3] = [9.0, 7.5, 7.0]
    statistic[2], statistic[4] = 31.0, 28.0
    p_adj = np.clip(np.exp(-(statistic**2) / 2) * 8, 0, 1)
    frame = pd.DataFrame(
        {
            "ensembl_id": [f"ENSG{i:011d}" for i in range(n)],
            "symbol": symbols,
            "attention": attention / attention.max(),
            "log2fc": np.sign(statistic) * np.abs(statistic) / 6,
            "p_adj": p_adj,
            "abs_statistic": np.abs(statistic),
        }
    )
    frame["attention_rank"] = frame.attention.rank(ascending=False, method="first").astype("Int64")
    frame["de_rank"] = frame.abs_statistic.rank(ascending=False, method="first").astype("Int64")
    frame["p53_textbook"] = frame.symbol.isin(["MDM2", "CDKN1A"])
    frame.loc[0, ["de_rank", "p_adj", "log2fc", "abs_statistic"]] = None
    return frame


def norms_table(regimes=("frozen", "last_layer", "full"), folds=(1, 2), layers=6, heads=4, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for regime in regimes:
        for fold in folds:
            for layer in range(1, layers + 1):
                for head in range(1, heads + 1):
                    base = 5.0 / (1 + abs(layer - 2)) * rng.uniform(0.8, 1.2)
                    place = (regime, fold, layer, head)
                    rows.append((*place, "weighted", 480, base, 0.3))
                    rows.append((*place, "value", 480, base * 1.4, 0.3))
                rows.append((regime, fold, layer, None, "output", 480, 12.0 / layer, 0.8))
    columns = ["regime", "fold", "layer", "head", "measure", "n_cells", "mean", "sd"]
    frame = pd.DataFrame(rows, columns=columns).assign(seed=1, subset="test")
    return frame.astype({"head": "Int64"})


def gene_class_tables(names=("insensitive", "sensitive"), seeds=(1, 2), n=300, seed=0):
    """Return gene_metrics, genes and gene_classes of a task; a tenth of the genes has no score."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(len(names), n, p=np.arange(len(names), 0, -1) / sum(range(len(names) + 1)))
    seen = np.arange(n) % 10 > 0
    ids = np.array([f"ENSG{i:011d}" for i in range(n)])
    classes = pd.DataFrame(
        {
            "ensembl_id": ids,
            "symbol": [f"S{i}" for i in range(n)],
            "class": pd.Categorical.from_codes(codes, names),
            "token": pd.array([i + 2 if i % 20 else None for i in range(n)], "Int64"),
            "n_cells": np.where(seen, 40, 0),
        }
    )
    metrics, genes = [], []
    for i, encoder in enumerate(("pretrained", "random_encoder", "shuffled_labels", "logistic")):
        for s in (*seeds, None):
            for name in names[1:] if len(names) == 2 else names:
                value = (0.74, 0.63, 0.49, 0.66)[i] + (0 if s is None else rng.normal(0, 0.02))
                sizes = {"n_genes": seen.sum(), "n_positive": 70, "n_cells": 150}
                row = {"encoder": encoder, "seed": s, "class": name, **sizes}
                spread = np.nan if s is None and encoder == "shuffled_labels" else 0.06
                interval = {"ci_low": value - spread, "ci_high": value + spread}
                metrics.append({**row, "metric": "roc_auc", "value": value, **interval})
                if encoder in ("random_encoder", "logistic"):
                    gain = {"value": 0.74 - value, "ci_low": -0.01, "ci_high": 0.2}
                    metrics.append({**row, "metric": "gain", **gain})
            score = 1 / (1 + np.exp(1.2 - 0.8 * (codes == len(names) - 1) - rng.normal(0, 0.7, n)))
            track = {"track": "gene_class_probability", "regime": encoder, "seed": s}
            rows = pd.DataFrame({"ensembl_id": ids, "symbol": classes.symbol, "score": score})
            rows = rows.assign(**track, n_cells=40)[seen]
            genes.append(rows.assign(rank=rows["score"].rank(ascending=False).astype(int)))
    metrics, genes = pd.DataFrame(metrics), pd.concat(genes, ignore_index=True)
    for table in (metrics, genes):
        table["seed"] = table["seed"].astype("Int64")
    return metrics, genes, classes


def claims_table():
    """Return table 'claims': three claims, five readings, every verdict."""
    rows = [
        ("a", "as read", "dose", "0.50", 0.49, 0.45, 0.53, "holds", 0.001),
        ("a", "read otherwise", "dose", "0.50", 0.40, 0.39, 0.41, "fails", None),
        ("b", "lacking", "level", "6", None, None, None, "not testable here", None),
        ("b", "tested", "level", "6", 8, 6, 12, "holds in part", None),
        ("c", "plain", "level", "most", 12345, None, None, "holds", None),
    ]
    columns = [
        "claim",
        "reading",
        "task",
        "thesis_value",
        "value",
        "ci_low",
        "ci_high",
        "verdict",
        "p",
    ]
    frame = pd.DataFrame(rows, columns=columns)
    tested = frame["value"].notna()
    return frame.assign(
        verdict=pd.Categorical(frame["verdict"], VERDICTS),
        statement="What is said of claim " + frame["claim"] + " <b>& more</b>",
        where="section 4, Figure " + frame["claim"],
        unit=frame["value"].map(lambda v: "accuracy; 95 % interval over 30 wells"),
        n=pd.array([600, 600, None, 12, 3], "Int64"),
        n_of="test cells",
        p_holm=2 * frame["p"],
        why="because of " + frame["reading"],
        control="majority 0.20 (beaten)",
        primary=[True, False, False, True, True],
        null_holds=[0.04, 0.3, None, 0.05, None],
        null_in_part=[0.1, 0.2, None, 0.0, None],
        null_study="layers are exchangeable",
    ).assign(unit=lambda f: f["unit"].where(tested))


def scorecard_table(truths=("p53", "planted"), tracks=None, faithful=True, seed=0, outside=()):
    """Return a scorecard and the agreement of its tracks, of two models; `outside` are of none."""
    rng = np.random.default_rng(seed)
    tracks = tracks or ["wilcoxon", "random", "attention_total", "attattr"]
    rows = []
    for track in tracks:
        of_none = track in ("wilcoxon", "random", *outside)
        for regime in [None] if of_none else ["full", "frozen"]:
            for number in (1, None):
                run = {"track": track, "regime": regime, "seed": number, "n_genes": 900}
                for name in truths:
                    base = {"aspect": "truth", "against": name, "metric": "auprc"}
                    sizes = {"base_rate": 0.05, "matched_p": 0.0001, "n_positive": 45}
                    sizes["matched_null_mean"] = 0.07
                    rows.append(
                        {
                            **run,
                            **base,
                            **sizes,
                            "value": 0.4 if regime or track in outside else 0.1,
                        }
                    )
                for name in ("detection", "mean_rank", "length"):
                    base = {"aspect": "confound", "against": name, "metric": "spearman"}
                    rows.append({**run, **base, "value": rng.uniform(-1, 1)})
                if regime:
                    base = {"aspect": "null", "against": "permuted_labels", "metric": "spearman"}
                    rows.append({**run, **base, "value": 0.42})
                if regime and faithful and number is None:
                    base = {"aspect": "faithfulness", "against": "matched_random"}
                    rows.append({**run, **base, "metric": "comprehensiveness_gain", "value": 0.33})
    card = pd.DataFrame(rows, columns=TABLES["scorecard"].names)
    card["seed"] = card["seed"].astype("Int64")
    pairs = [
        {"track_a": a, "track_b": b, "rbo": 1.0 if a == b else 0.1, "n_genes": 900}
        for a in tracks
        for b in tracks
    ]
    return card, pd.DataFrame(pairs)


def input_length_table(
    regimes=("full", "full_equal_length", "full_equal_depth", "frozen", "frozen_equal_length"),
):
    """Return table 'input_length': variants of full and frozen, each beside its counterpart."""
    rows = []
    for i, regime in enumerate(regimes):
        plain, _, tokens = regime.partition("_")
        row = {"regime": regime, "tokens": tokens or "main", "n_cells": 2400}
        row["reference"] = plain if tokens else None
        for measure, value, width in (
            *(("accuracy", 0.9 - 0.02 * i, 0.03), ("mitochondrial_share", 0.06 - 0.01 * i, 0.01)),
            *(("ribosomal_share", 0.2, 0.02), ("mitochondrial_in_top", 9 - i, 2)),
            ("ribosomal_in_top", 12, 3),
        ):
            interval = {"ci_low": value - width, "ci_high": value + width}
            rows.append({**row, "measure": measure, "value": value, **interval})
            rows[-1] |= {"n": 30, "n_of": "well", "difference": -0.01 if tokens else np.nan}
    return pd.DataFrame(rows)


def gene_tables(study, n=40):
    """Return tables 'genes', 'wilcoxon', 'key_genes' and 'gene_ranks' of a task of two classes.

    The first four genes, S0 to S3, are of the set p53; a track of the study has them in its first
    ten. The track that leads has the genes in their order.
    """
    ids, symbols = [f"ENSG{i}" for i in range(n)], [f"S{i}" for i in range(n)]
    classes = pd.Categorical(["low", "high"], ["low", "high"])
    of_gene = pd.DataFrame({"ensembl_id": ids, "symbol": symbols, "n_cells": 100})
    names = ["wilcoxon", "detection", "mean_rank", *study.readers]
    names += ["attention_total"] if study.main_attended else []
    tracks = []
    for i, name in enumerate(names):
        rank = np.arange(n) if name == study.leading_track else np.roll(np.arange(n), i)
        regime = study.main if name == "attention_total" else None
        of_track = of_gene.assign(track=name, regime=regime, rank=rank + 1, score=n - rank)
        tracks.append(of_track)
    genes = pd.concat(tracks).reindex(columns=TABLES["genes"].names)
    genes = genes.astype({"seed": "Int64", "n_wells": "Int64", "score": float})
    tests = of_gene.merge(pd.DataFrame({"group": classes}), how="cross").assign(reference="rest")
    sizes = {"n_cells": 480, "n_reference": 960, "auc": 0.7, "detection": 0.5}
    tests = tests.assign(task="level", statistic=1.0, log2fc=0.5, p_adj=0.01, **sizes)
    tests = tests.reindex(columns=TABLES["wilcoxon"].names)
    led = genes[genes["track"] == study.leading_track].sort_values("rank")
    keys = led[["ensembl_id", "symbol", "score", "n_cells"]].reset_index(drop=True)
    keys.insert(0, "position", keys.index + 1)
    keys = keys.assign(rank_mean=9.0, rank_sd=2.0, in_p53=keys["symbol"].isin(symbols[:4]))
    ranks = of_gene.merge(pd.DataFrame({"class": classes}), how="cross")
    ranks = ranks.assign(rank_mean=9.0, rank_sd=2.0)
    return genes, tests, keys, ranks


def page_tables(study):
    """Return the tables that the page of a study with a task 'level' is made from."""
    models = ("length_only", "token0", "rank_lr", "hvg_lr", "majority")
    metrics = metrics_table((*study.regimes, *models, *study.readers), seeds=(1, 2))
    genes, tests, keys, _ = gene_tables(study)
    card, _ = scorecard_table(
        ("p53",), ["wilcoxon", "random", *study.readers], outside=study.readers
    )
    cells = [f"c{i}" for i in range(6)]
    labels = pd.DataFrame({"cell": cells, "level": pd.Categorical(["low", "high"] * 3)})
    primary = primary_tables() if study.primary else (None, None, None)
    steps = {"step": ["dataset"], "n_cells": [6], "n_genes": [40], "note": ["mine"]}
    paired = study.paired_tasks
    return {
        "selection": pd.DataFrame(steps),
        "checks": pd.DataFrame({"check": ["class"], "about": ["level"], "outcome": ["fine"]}),
        "labels": labels,
        "splits": pd.DataFrame({"cell": cells, "fold": [1, 2, 3] * 2, "split": "test"}).assign(
            unit="well"
        ),
        "tokens": pd.DataFrame({"counts_lost": [0.1], "length": [5], "n_truncated": [0]}),
        "wilcoxon": tests,
        "vocabulary": pd.DataFrame({"ensembl_id": ["<pad>", "A", "B"]}),
        "gene_sets": {name: gene_set_table("S0", "S1", "S2", "S3") for name in study.gene_sets},
        "metrics": {"level": with_differences(metrics, study.main) if study.main else metrics},
        "cosine": {task: cosine_table([study.pairs[0]]) for task in paired},
        "comparison_bounds": {task: bounds_table() for task in paired},
        "key_genes": {"level": keys},
        "genes": {"level": genes},
        "scorecard": {"level": card},
        "claims": None,
        "primary": primary[2],
        "track_tests": primary[1],
        **{name: {} for name in ("gene_classes", "gene_metrics", "gene_scores")},
    }


def primary_tables(**options):
    """Return relabelled_scores, track_tests and primary, as `drawn_primary` makes them once."""
    return tuple(table.copy() for table in drawn_primary(**options))


@functools.cache
def drawn_primary(signal=2.0, n=20, seeds=(1, 2, 3), learnt=True, n_positive=40, seed=0):
    """Return relabelled_scores, track_tests and primary, made of drawn gene scores.

    Parameters
    ----------
    signal : float
        How much higher the set's genes score on the primary track, in sd, under true labels.
    n : int
        Relabellings.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"ENSG{i:011d}" for i in range(900)])
    members, lift = set(ids[:n_positive]), np.arange(900) < n_positive
    facts = pd.DataFrame(rng.random((900, 2)), ids, ["detection", "mean_rank"]).assign(symbol=ids)
    named = {"task": "level", "track": "attattr", "gene_set": "p53", "regime": "full"}

    def track(strength, labels):
        """Return a track under some labels [(relabelling, seed)]; dealt ones know no signal."""
        scores = {
            (b, s): pd.Series((b == 0) * strength * lift + rng.normal(size=900), ids)
            for b, s in labels
        }
        return scored(scores, facts, members)

    of_labels = [*((0, s) for s in seeds), *((b, seeds[0]) for b in range(1, n + 1))]
    strengths = {"attattr": signal, "attention_total": 0.2, "deletion": 1.2, "rollout": 0.0}
    models = {name: track(strength, of_labels) for name, strength in strengths.items()}
    references = {"wilcoxon": track(1.5, [(b, 0) for b in range(200)])}
    for name in ("detection", "mean_rank"):
        references[name] = scored({(0, 0): facts[name]}, facts, members)
    tests = track_table(models, references, named, n_draws=200)
    rows = [
        row for tracks in (models, references) for of in tracks.items() for row in score_rows(*of)
    ]
    accuracy = {"accuracy": 0.8, "accuracy_low": 0.75, "commonest": 0.6, "learnt": learnt}
    trained = pd.DataFrame({"relabelling": [0, *range(1, n + 1)], "accuracy": 0.91})
    trained.loc[0, "accuracy"] = 0.93
    options = {"min_effect": 0.05, "brought": False}
    row = primary_row(tests, accuracy, trained, ("well", 1e6), named, **options)
    primary = pd.DataFrame([row], columns=TABLES["primary"].names)
    return pd.DataFrame(rows).astype({"seed": "Int64"}), tests, primary
