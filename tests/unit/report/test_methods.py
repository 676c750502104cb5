import re

import pytest
from study_configs import COUNTS, SOFTWARE, STUDIES, entries_of, merged, references, study

from keygenes.core.tracks import ATTENTION, ATTRIBUTIONS
from keygenes.evidence import attribute, primary, roar
from keygenes.evidence.agreement import PRECISION_AT
from keygenes.report.methods import methods
from keygenes.report.methods_evidence import COMPLETE, MANY_PASSES, TRACKS
from keygenes.report.methods_models import what_trains
from keygenes.report.wording import counted, listed, number, percent

CLAIMS = {"title": "Claims of the thesis", "source": "A. Author, Title, 2024"}


@pytest.fixture(autouse=True)
def _here(repository, monkeypatch):
    monkeypatch.chdir(repository)


def written(config, counts=COUNTS, claims=None, **changed):
    """Return the methods of a config as one text, and the keys cited."""
    entries, simulated = entries_of(config)
    options = {"simulated": simulated, "software": SOFTWARE, **changed}
    paragraphs, keys = methods(
        config, references(), entries=entries, counts=counts, claims=claims, **options
    )
    return "\n".join(paragraphs), keys


def text_of(name, **changed):
    return written(merged(study(name), changed))[0]


@pytest.mark.parametrize("name", STUDIES)
def test_the_text_says_what_the_config_says(name):
    config = study(name)
    text, _ = written(config)
    train, evidence = config["finetune"], config["evidence"]
    for said in (
        f"{number(config['select']['min_counts'])} counts",
        f"validated on {percent(config['split']['valid_fraction'])}",
        f"{number(config['tokens']['max_length'])} tokens",
        f"learning rate {number(train['learning_rate'])}",
        counted(train["epochs"], "epoch"),
        f"weight decay {number(train['weight_decay'])}",
        f"batches of {counted(train['batch_size'], 'cell')}",
        f"{percent(train['warmup_fraction'])} of steps, {train['warmup_steps']} at most",
        f"{number(evidence['n_bootstrap'])} bootstrap resamples",
        f"{number(evidence['n_null_draws'])} random sets",
        f"p < {config['expression']['fdr']}",
        *(f"{a}/{b}" for a, b in config["attention"]["pairs"]),
    ):
        assert said in text, said
    for regime in config["regimes"]:
        assert re.search(rf"\({regime['name']}[):]", text), regime["name"]
    assert ("no attention dropout" in text) == (train["attention_dropout"] == 0)
    assert ("another training of a fold" in text) == (len(config["seeds"]) > 1)
    assert ("Every fold was trained once" in text) == (len(config["seeds"]) == 1)
    assert f"Fold k ({listed(config['folds'])}) tested" in text
    assert text.startswith("The data are simulated (no cell is real).") == (
        name in ("demo", "micro")
    )


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
    words = {"occlusion": "occlusion", "deletion": "deletion", "norm_pair": "mean norm"}
    words |= {"attention_gradient": "attention times gradient", "attention_readout": "read-out"}
    for track, word in words.items():
        assert (word in text) == (track in on), track
    assert set(TRACKS) == {*ATTENTION, *ATTRIBUTIONS}


def test_without_regimes_to_attribute_there_is_no_word_of_faithfulness():
    text, keys = written(study("micro"))
    assert not {"deyoung2020", "adebayo2018", "hao2021"} & set(keys)
    for word in ("logit", "masking", "Cascading", "Controls", "The null of"):
        assert word not in text
    assert {"deyoung2020", "adebayo2018", "hao2021"} <= set(written(study("demo"))[1])


def test_randomisation_that_is_off_is_not_spoken_of():
    off = merged(study("demo"), {"evidence": {"faithfulness": {"randomised_cells": 0}}})
    assert "adebayo2018" not in written(off)[1]
    assert "deyoung2020" in written(off)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "gone", "there"),
    [
        ({"finetune": {"learning_rate": 3.0e-4}}, "5 × 10⁻⁵", "3 × 10⁻⁴"),
        ({"finetune": {"epochs": 7}}, "for five epochs", "for seven epochs"),
        ({"finetune": {"warmup_fraction": None}}, "500 at most", "warm-up over 500 steps"),
        ({"finetune": {"warmup_steps": 0}}, "warm-up", "linear decay"),
        ({"finetune": {"attention_dropout": 0.1}}, None, "attention dropout 0.1"),
        ({"finetune": {"pooling": "mean"}}, "of their top-ranked", "mean of their last hidden"),
        (
            {"select": {"highly_variable_genes": None}},
            "most variable",
            "and genes seen in at least",
        ),
        ({"select": {"hash_filter": None}}, "hash filter", "500 counts"),
        ({"select": {"max_percent_mito": 15}}, None, "at most 15 % mitochondrial counts"),
        (
            {"select": {"max_cells_per_dose": 150}},
            None,
            "(at most 150 cells per dose, drawn at random)",
        ),
        ({"tokens": {"upstream": True}}, None, "as Geneformer's own tokenizer does"),
        ({"tokens": {"depth": 900}}, None, "All cells had 900 random counts per cell"),
        (
            {"attention": {"max_cells": 20}},
            "and head, in all test cells",
            "and head, in 20 test cells per fold",
        ),
        ({"attention": {"pair_norms": True}}, None, "mean norm"),
        (
            {"evidence": {"gene_sets": [], "primary": None}},
            "AUPRC",
            "Scores were held against differential expression",
        ),
        ({"evidence": {"attribution": {"n_steps": 77}}}, "50 steps", "77 steps"),
        ({"evidence": {"attribution": {"costly_cells": 11}}}, "60 test", "11 test cells"),
        ({"evidence": {"faithfulness": {"fractions": [0.3]}}}, "1, 2, 5", "first 30 %"),
        ({"split": {"by": "random"}}, "wells of replicate", "Cells were split one by one within"),
        ({"expression": {"min_abs_log2fc": 0.7}}, "0.25", "≥ 0.7"),
    ],
)
def test_a_key_that_changes_changes_the_text(changed, gone, there):
    known = {} if "split" in changed else COUNTS
    before, _ = written(study("config"), known)
    after, _ = written(merged(study("config"), changed), known)
    assert there in after
    if gone is None:
        assert there not in before
    else:
        assert gone in before and gone not in after


def test_one_replicate_per_class_has_no_interval_to_tell_of():
    counts = {**COUNTS, "unit": "replicate", "has_intervals": False, "has_wells": False}
    text, _ = written(study("config"), counts)
    assert "Accuracies have no interval, as one replicate of each dose was tested." in text
    assert "jackknife" not in text
    assert "tested replicate k" in text


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
    text, _ = written(merged(study("config"), changed))
    assert "vehicle" not in text
    assert "Cells (reference: cell_line A549) are from" in text
    assert "against the others and the reference cells" in text
    assert "in reference cells of training" in text
    assert "at most 40 cells per value of cell_line, drawn" in text


def test_a_regime_with_options_of_its_own_says_them():
    config = study("config")
    full = next(regime for regime in config["regimes"] if regime["name"] == "full")
    full |= {"epochs": 9, "learning_rate": 1.0e-4}
    assert "all parameters (full: nine epochs, learning rate 10⁻⁴," in written(config)[0]
    config = study("config")
    config["regimes"].append({"name": "theirs", "preset": "upstream"})
    text = written(config)[0]
    assert "all parameters (theirs: ten epochs, learning rate 5 × 10⁻⁵, linear warm-up" in text


def test_what_trains_is_said_in_words():
    assert what_trains({"freeze_layers": 1}) == "all but the first layer"
    assert what_trains({"train": ["*"]}) == "all parameters"
    assert what_trains({"preset": "upstream"}) == "all parameters"
    assert what_trains({"train": ["*", "!bert.embeddings.*"]}) == (
        "all parameters but the embeddings"
    )
    assert what_trains({"train": ["bert.encoder.layer.3.*", "classifier.weight"]}) == (
        "layer 4 and parameters classifier.weight"
    )


@pytest.mark.slow
def test_controls_are_told_by_what_they_repeat():
    text = text_of("laptop")
    assert (
        "Controls repeated full with labels permuted among wells (permuted_labels) or a split by "
        "cell (full_random_split). These were trained for task level alone." in text
    )
    config = study("laptop")
    del config["regimes"][4]["tasks"]
    said = "The control permuted_labels was trained for task level alone."
    assert said in written(config)[0]
    config["regimes"].append({"name": "odd", "freeze_layers": 2, "encoder": "random"})
    said = "and training of all but the first two layers with random first weights (odd)"
    assert said in written(config)[0]


def test_claims_are_spoken_of_where_they_were_tested():
    config = study("config")
    text, keys = written(config, claims=CLAIMS)
    assert "Claims of the thesis (A. Author, Title, 2024) were tested" in text
    assert "holm1979" in keys
    assert "with one verdict a claim, that of its primary reading" in text
    text, keys = written(config)
    assert "Claims" not in text and "holm1979" not in keys


def test_a_study_without_wells_has_none_in_its_text():
    counts = {**COUNTS, "unit": "cell", "has_wells": False, "hash_columns": []}
    text, keys = written(study("config"), counts)
    assert "Cells were split one by one, as no replicates are known, within each dose" in text
    assert not {"love2014", "muzellec2023", "smyth2004"} & set(keys)
    assert "hash filter" not in text
    assert "labels permuted among cells" in text
    assert "halves of the cells" in text
    assert not re.search(r"\bwells\b", text.replace("classes and wells", ""))


def test_scores_that_no_table_has_are_not_spoken_of():
    text, _ = written(study("config"), {**COUNTS, "tracks": ["attention_total", "rollout"]})
    assert "residual" not in text.split("Genes were scored")[1].split("Scores without")[0]
    assert "rollout" in text and "occlusion" not in text


def test_the_primary_test_is_told_as_the_config_names_it():
    text, keys = written(study("config"))
    named = study("config")["evidence"]
    for said in (
        f"(task {named['primary']['task']}): whether integrated gradients of full ranks",
        "20 relabellings dealt the classes to the wells, within each replicate, once for all folds",
        "(19 degrees of freedom",
        "and an effect of at least 0.05; not supported, an interval below 0.05",
        f"Wilcoxon's own T was held against {primary.OF_WILCOXON} relabellings",
    ):
        assert said in text, said
    assert {"phipson2010", "satterthwaite1946"} <= set(keys)
    none = text_of("config", evidence={"permutations": 0})
    assert "so that the test could support nothing (it takes 19)" in none
    off = text_of("config", evidence={"primary": None})
    assert "One test was named" not in off and "max-T" not in off
    without = text_of("config", evidence={"primary": {"gene_set": None}})
    assert "there is no verdict on them" in without


def test_heads_that_converge_and_epochs_that_are_kept_are_told():
    text = text_of("config")
    assert "(frozen: until its validation loss had not fallen for 20 epochs, 1,000 at most" in text
    assert "; the last epoch was kept." in text
    best = text_of("config", finetune={"keep_epoch": "best"})
    assert "; the epoch of least validation loss was kept." in best


def test_what_is_counted_is_in_the_text():
    text, _ = written(study("config"))
    for said in ("2,613 cells, 9,876 genes", "(n = 30)", "(25,424 genes)", "(median 683; "):
        assert said in text
    assert "seven cells cut" in text
    assert "keygenes 9.8.7" in text and "PyTorch 2.13.0 (Paszke et al., 2019)" in text
    bare, _ = written(study("config"), {})
    for said in ("2,613", "n = ", "25,424", "683"):
        assert said not in bare


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
    entries, _ = entries_of(config)
    entries["datasets"][config["dataset"]] |= {
        "title": "mine [@nobody1999]\x1b[31m",
        "citation": "doi:10.5555/mine; doi:10.1126/science.aax6234",
    }
    config["select"]["drug"] = "[@nobody1999]"
    paragraphs, keys = methods(
        config,
        references(),
        **{"entries": entries, "counts": COUNTS, "software": {}, "simulated": "[@nobody1999]"},
    )
    assert "\x1b" not in paragraphs[0]
    assert "(Srivatsan et al., 2020) (doi:10.5555/mine)" in paragraphs[0]
    assert keys[0] == "srivatsan2020"


def test_what_the_text_says_of_the_code_is_so():
    text = text_of("demo")
    shares = f"first {100 * roar.FRACTIONS[0]:g} to {100 * roar.FRACTIONS[-1]:g} % of genes"
    assert shares in text
    assert f"precision at {PRECISION_AT[0]} to {PRECISION_AT[-1]} genes" in text
    assert MANY_PASSES == attribute.MANY_PASSES
    assert set(COMPLETE) <= set(MANY_PASSES)


def gene_study():
    """Return a study with a task of genes."""
    task = {"name": "targets", "type": "gene", "gene_classes": "mine"}
    config = study("config")
    config["tasks"].append(task)
    return config


def test_tasks_of_genes_have_a_paragraph():
    config = gene_study()
    plain, _ = entries_of(study("config"))
    entries = {**plain, "gene_classes": {"mine": {"title": "genes of mine"}}}
    options = {"entries": entries, "counts": {}, "software": {}, "simulated": False}
    text = "\n".join(methods(config, references(), **options)[0])
    assert "(“genes of mine”, task targets)" in text
    assert "at most 1,000 cells per seed" in text and "in five folds" in text
    assert "Genes were classified" not in text_of("config")


def test_every_work_is_cited_by_some_study():
    cited = set()
    for name in STUDIES:
        cited |= set(written(study(name), claims=CLAIMS, software=ALL)[1])
    second = {"model": "geneformer_v2_104m", "tokens": {"vocabulary": "geneformer_v2"}}
    second = merged(study("config"), second)
    text, keys = written(second)
    assert "last hidden state of <cls>" in text and "(<cls> and <eos> included; median 683" in text
    assert set(references()) == cited | set(keys)


ALL = {
    name: ["1.0"]
    for name in ("torch", "transformers", "captum", "scikit-learn", "scanpy", "anndata")
}
