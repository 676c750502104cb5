import functools
import re
from collections import defaultdict

import pytest
from running import laid_over
from stated import names_in, numbers_in, sentences_on, states
from study_configs import COUNTS, SOFTWARE, STUDIES, made_study, record_of, references, study

from keygenes.core.regimes import finetune_options
from keygenes.core.tracks import ATTRIBUTIONS, OF_MODELS, TRACKS
from keygenes.evidence import primary, roar
from keygenes.evidence.agreement import PRECISION_AT
from keygenes.report import methods_evidence
from keygenes.report.methods import methods
from keygenes.report.methods_cells import HASH_TESTS
from keygenes.report.methods_models import (
    READ,
    controls,
    gene_tasks,
    kept_epoch,
    schedule,
    what_trains,
)
from keygenes.report.panels import spoken
from keygenes.report.wording import counted, listed, number, percent

CLAIMS = {"title": "Claims of the thesis", "source": "A. Author, Title, 2024"}


@pytest.fixture(autouse=True)
def _here(repository, monkeypatch):
    monkeypatch.chdir(repository)


def written(config, counts=COUNTS, claims=None, software=SOFTWARE):
    """Return the methods of a config as one text, and the keys cited."""
    record = record_of(config, claims)
    paragraphs, keys = methods(record, references(), counts=counts, software=software)
    return "\n".join(paragraphs), keys


def text_of(name, **changed):
    return written(laid_over(study(name), changed))[0]


@functools.cache
def plain_text():
    return text_of("config")


@pytest.mark.parametrize("name", STUDIES)
def test_the_text_names_regimes_pairs_and_folds_and_says_first_what_is_simulated(name):
    config = study(name)
    text, _ = written(config)
    assert names_in(text, [r["name"] for r in config["regimes"]]) == {
        regime["name"] for regime in config["regimes"]
    }
    for said in (
        *(f"{a}/{b}" for a, b in config["attention"]["pairs"]),
        *(listed(config[key]) for key in ("folds", "seeds")),
        schedule(config["finetune"]),
        kept_epoch(config["finetune"]),
    ):
        assert said in text, said
    record = record_of(config)
    for entry in record.entries["datasets"].values():
        entry.pop("simulated", None)
    real = "\n".join(methods(record, references(), counts=COUNTS, software=SOFTWARE)[0])
    assert text.endswith(real)
    assert (text != real) == (name in ("demo", "micro"))


UNCITED = {  # 'mean' alone is a word of many sentences
    name: TRACKS[name].method
    for name in OF_MODELS
    if "[@" not in TRACKS[name].method and name != "attention_received"
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_text_names_the_scores_that_are_on_and_no_others(name):
    config = study(name)
    text, keys = written(config)
    on = set(config["evidence"]["tracks"])
    if not config["evidence"]["regimes"]:
        on -= set(ATTRIBUTIONS)
    if not config["attention"]["pair_norms"]:
        on -= {"norm_pair"}
    cited = {
        **{"attention_total": "truetzscher2024", "rollout": "abnar2020", "attattr": "hao2021"},
        **{"integrated_gradients": "sundararajan2017"},
    }
    for track, key in cited.items():
        assert (key in keys) == (track in on), track
    for track, words in UNCITED.items():
        assert (words in text) == (track in on), track


def test_without_regimes_to_attribute_no_work_on_faithfulness_is_cited():
    faithful = {"deyoung2020", "adebayo2018", "hao2021"}
    assert not faithful & set(written(study("micro"))[1])
    assert faithful <= set(written(study("demo"))[1])


def test_randomisation_that_is_off_is_not_spoken_of():
    off = laid_over(study("demo"), {"evidence": {"faithfulness": {"randomised_cells": 0}}})
    assert "adebayo2018" not in written(off)[1]
    assert "deyoung2020" in written(off)[1]


def cells(n):
    return counted(n, "cell")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("finetune.learning_rate", 3.0e-4, number),
        ("finetune.epochs", 7, lambda n: counted(n, "epoch")),
        ("finetune.weight_decay", 0.0123, number),
        ("finetune.batch_size", 17, cells),
        ("finetune.warmup_fraction", 0.23, percent),
        ("finetune.warmup_steps", 321, number),
        ("finetune.attention_dropout", 0.17, number),
        ("finetune.max_grad_norm", 0.77, number),
        ("finetune.pooling", "mean", READ.get),
        ("select.min_counts", 777, number),
        ("select.min_genes", 333, number),
        ("select.min_cells_per_gene", 14, cells),
        ("select.highly_variable_genes", 1777, number),
        ("select.max_percent_mito", 17, lambda n: f"{number(n)} %"),
        ("select.max_cells_per_dose", 151, cells),
        ("select.hash_filter.hash_umis", 19, HASH_TESTS["hash_umis"].format),
        ("split.valid_fraction", 0.37, percent),
        ("tokens.max_length", 1234, number),
        ("tokens.depth", 987, number),
        ("attention.max_cells", 23, lambda n: counted(n, "test cell")),
        ("attention.pair_norms", True, lambda _: TRACKS["norm_pair"].method),
        ("evidence.n_bootstrap", 4321, number),
        ("evidence.n_null_draws", 5432, number),
        ("evidence.attribution.n_steps", 77, number),
        ("evidence.attribution.costly_cells", 61, lambda n: counted(n, "test cell")),
        ("evidence.faithfulness.fractions", [0.33], lambda shares: percent(shares[0])),
        ("evidence.permutations", 23, lambda n: counted(n, "relabelling")),
        ("evidence.min_effect", 0.077, number),
        ("expression.fdr", 0.031, number),
        ("expression.min_abs_log2fc", 0.71, number),
        ("expression.umap.n_variable_genes", 4567, number),
        ("seeds", [4, 9], listed),
    ],
)
def test_a_key_that_changes_changes_the_text(key, value, words):
    changed = value
    for part in reversed(key.split(".")):
        changed = {part: changed}
    assert words(value) not in plain_text()
    assert words(value) in text_of("config", **changed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "gone"),
    [
        ({"select": {"highly_variable_genes": None}}, "satija2015"),
        ({"select": {"hash_filter": None}}, HASH_TESTS["hash_umis"].split("{}")[1]),
        ({"evidence": {"gene_sets": [], "primary": None}}, "AUPRC"),
        ({"evidence": {"primary": None}}, "phipson2010"),
        ({"tokens": {"upstream": True}}, None),
    ],
)
def test_what_is_switched_off_is_not_spoken_of(changed, gone):
    before, after = (written(laid_over(study("config"), more)) for more in ({}, changed))
    assert before[0] != after[0]
    if gone:
        assert any(gone in found for found in before)
        assert not any(gone in found for found in after)


def test_cells_split_one_by_one_are_said_to_be():
    changed = {"split": {"by": "random", "test_fraction": 0.37}}
    assert percent(0.37) in written(laid_over(study("config"), changed), {})[0]


def test_the_learning_rate_rises_as_the_options_say():
    steps = {"warmup_steps": 500, "warmup_fraction": 0.1}
    assert numbers_in(schedule(steps)) == [10, 500]
    assert numbers_in(schedule({**steps, "warmup_fraction": None})) == [500]
    assert numbers_in(schedule({**steps, "warmup_steps": 0})) == []


def test_one_replicate_per_class_has_no_interval_to_tell_of():
    counts = {**COUNTS, "unit": "replicate", "has_wells": False}
    assert "satterthwaite1946" in written(study("config"), counts)[1]
    text, keys = written(study("config"), {**counts, "has_intervals": False})
    assert "satterthwaite1946" not in keys and "jackknife" not in text
    assert not names_in(text.replace("classes and wells", ""), ["wells"])


def test_cells_without_treatment_have_a_reference_and_no_vehicle():
    lines = {"A549": ["A549"], "H838": ["H838"]}
    changed = {
        "select": {
            **{"drug": None, "doses_um": None, "max_cells_per_dose": 40},
            "vehicle": {"column": "cell_line", "value": "A549"},
        },
        "tasks": [{"name": "line", "column": "cell_line", "classes": lines}],
        **{"dataset": "simulated_atlas", "regimes": study("micro")["regimes"]},
        **{"attention": {"pairs": [["full", "frozen"]]}, "evidence": {"regimes": ["full"]}},
    }
    text, _ = written(laid_over(study("config"), changed))
    assert "vehicle" not in text and "µM" not in text
    assert "cell_line A549" in text
    assert "cell_line" in sentences_on(text, cells(40))


def own_options(config, name):
    """Return what the text has in parentheses behind the name of a regime."""
    return re.search(rf"\({name}: ([^()]*)", written(config)[0])[1]


def test_a_regime_with_options_of_its_own_says_them():
    config = study("config")
    full = next(regime for regime in config["regimes"] if regime["name"] == "full")
    full |= {"epochs": 9, "learning_rate": 1.0e-4}
    config["regimes"].append({"name": "theirs", "preset": "upstream"})
    for regime in (full, config["regimes"][-1]):
        options, said = (
            finetune_options(config["finetune"], regime),
            own_options(config, regime["name"]),
        )
        assert counted(options["epochs"], "epoch") in said
        assert number(options["learning_rate"]) in said
        assert schedule(options) in said


def test_what_trains_tells_regimes_apart():
    everything = what_trains({"train": ["*"]})
    assert what_trains({"preset": "upstream"}) == everything
    others = [
        what_trains({"freeze_layers": 1}),
        what_trains({"freeze_layers": 2}),
        what_trains({"train": ["*", "!bert.embeddings.*"]}),
        what_trains({"train": ["bert.encoder.layer.3.*", "classifier.weight"]}),
    ]
    assert len({everything, *others}) == 5
    assert numbers_in(others[-1]) == [4] and "classifier.weight" in others[-1]


def test_controls_are_told_by_what_they_repeat():
    config = study("laptop")
    names = [regime["name"] for regime in config["regimes"]]

    def said():
        repeated, *limited, _ = controls(made_study({**config, "dataset": "mine"}), COUNTS, {})
        return repeated, limited

    repeated, [limited] = said()
    assert names_in(repeated, names) == {"full", "permuted_labels", "full_random_split"}
    assert names_in(limited, ["level", "dose"]) == {"level"}
    del config["regimes"][4]["tasks"]
    _, [limited] = said()
    assert names_in(limited, names) == {"permuted_labels"}
    odd = {"name": "odd", "freeze_layers": 2, "encoder": "random"}
    config["regimes"].append(odd)
    repeated, _ = said()
    assert what_trains(odd) in repeated and "odd" in repeated


def test_claims_are_spoken_of_where_they_were_tested():
    config = study("config")
    text, keys = written(config, claims=CLAIMS)
    assert CLAIMS["title"] in text and CLAIMS["source"] in text and "holm1979" in keys
    text, keys = written(config)
    assert "Claims" not in text and "holm1979" not in keys


def test_a_study_without_wells_has_none_in_its_text():
    counts = {**COUNTS, "unit": "cell", "has_wells": False, "hash_columns": []}
    text, keys = written(study("config"), counts)
    assert not {"love2014", "muzellec2023", "smyth2004"} & set(keys)
    assert HASH_TESTS["hash_umis"].split("{}")[1] not in text
    assert not names_in(text.replace("classes and wells", ""), ["wells"])


def test_scores_that_no_table_has_are_not_spoken_of():
    counts = {**COUNTS, "tracks": ["attention_total", "rollout"]}
    text, keys = written(study("config"), counts)
    assert {"truetzscher2024", "abnar2020"} <= set(keys)
    assert not {"hao2021", "sundararajan2017"} & set(keys)
    assert not [track for track, words in UNCITED.items() if words in text]


def primary_text(**changed):
    """Return the methods of the primary test as one text, and that test."""
    config = laid_over(study("config"), {"evidence": changed})
    said = methods_evidence.primary(record_of(config), COUNTS, defaultdict(str))
    return " ".join(said), config["evidence"]


def test_the_primary_test_is_told_as_the_config_names_it():
    text, keys = primary_text()
    test, n = keys["primary"], keys["permutations"]
    assert test["task"] in text and spoken(test["track"]) in text and test["regime"] in text
    assert states(text, n, n - 1, keys["min_effect"], primary.ALPHA, primary.OF_WILCOXON)
    none, _ = primary_text(permutations=0)
    assert states(none, primary.FEWEST) and not states(none, primary.OF_WILCOXON)
    assert primary_text(primary=None)[0] == ""
    unnamed = primary_text(primary={"gene_set": None})[0]
    assert unnamed and not numbers_in(unnamed)


def test_heads_that_converge_and_epochs_that_are_kept_are_told():
    config = study("config")
    text = own_options(config, "frozen")
    frozen = next(regime for regime in config["regimes"] if regime["name"] == "frozen")
    how = finetune_options(config["finetune"], frozen)["converge"]
    assert states(text, how["patience"], how["max_epochs"])
    last, best = (kept_epoch({"keep_epoch": which}) for which in ("last", "best"))
    assert last in plain_text() and best not in plain_text()
    assert best in text_of("config", finetune={"keep_epoch": "best"})


def test_what_is_counted_is_in_the_text():
    text, keys = written(study("config"))
    bare, _ = written(study("config"), {})
    counted_facts = [number(COUNTS[key]) for key in ("n_cells", "n_genes", "n_vocabulary")]
    for said in (*counted_facts, "683", f"n = {COUNTS['n_units']['dose']}", cells(COUNTS["n_cut"])):
        assert said in text and said not in bare, said
    for package, (version,) in SOFTWARE.items():
        assert version in text, package
    assert "paszke2019" in keys


@pytest.mark.parametrize("name", STUDIES)
def test_the_text_is_well_formed(name):
    text, keys = written(study(name))
    assert not re.search(r"\[@|\{|\}|None|True|\bnan|  |\.\.|\( | \)| ,", text)
    for paragraph in text.split("\n"):
        assert paragraph.endswith(".") and paragraph[0].isupper()
        assert paragraph.count("(") == paragraph.count(")")
    assert len(set(keys)) == len(keys)
    sentences = re.split(r"(?<=[.;]) ", text)
    assert len(set(sentences)) == len(sentences), "nothing is said twice"
    assert 500 < len(text.split()) < 1250, "a section that people read"


def test_names_that_others_wrote_cite_nothing_and_break_nothing():
    config = study("config")
    record = record_of(laid_over(config, {"select": {"drug": "[@nobody1999]"}}))
    record.entries["datasets"][config["dataset"]] |= {
        "title": "mine [@nobody1999]\x1b[31m",
        "citation": "doi:10.5555/mine; doi:10.1126/science.aax6234",
        "simulated": "[@nobody1999]",
    }
    paragraphs, keys = methods(record, references(), counts=COUNTS, software={})
    assert "\x1b" not in paragraphs[0]
    assert "10.5555/mine" in paragraphs[0]
    assert keys[0] == "srivatsan2020"


def test_what_the_text_says_of_the_code_is_so():
    text = text_of("demo")
    shares = [100 * share for share in (roar.FRACTIONS[0], roar.FRACTIONS[-1])]
    assert states(sentences_on(text, "Hooker"), *shares)
    assert states(sentences_on(text, "AUPRC", "ROC-AUC"), PRECISION_AT[0], PRECISION_AT[-1])


def test_tasks_of_genes_have_a_paragraph():
    config = study("config")
    assert not list(gene_tasks(record_of(config), {}, defaultdict(str)))
    config["tasks"].append({"name": "targets", "type": "gene", "gene_classes": "mine"})
    record = made_study(config, gene_classes={"mine": {"title": "genes of mine"}})
    text = " ".join(gene_tasks(record, {}, defaultdict(str)))
    keys = config["gene_classification"]
    assert "genes of mine" in text and "targets" in text
    assert cells(keys["max_cells"]) in text and counted(keys["folds"], "fold") in text


def test_every_work_is_cited_by_some_study():
    cited = set()
    for name in STUDIES:
        cited |= set(written(study(name), claims=CLAIMS, software=ALL)[1])
    second = {"model": "geneformer_v2_104m", "tokens": {"vocabulary": "geneformer_v2"}}
    second = laid_over(study("config"), second)
    text, keys = written(second)
    assert READ["cls"] in text and "<eos>" in text
    assert set(references()) == cited | set(keys)


ALL = {name: ["1.0"] for name in ("torch", "transformers", "scikit-learn", "scanpy", "anndata")}


def test_statistics_in_half_precision_are_said_to_be():
    usual, half = (text_of("config", attention={"precision": p}) for p in ("float32", "auto"))
    assert "bf16" in half and len(half) > len(usual)
    assert "bf16" not in usual
