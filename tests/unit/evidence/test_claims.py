"""The thesis's claims as a whole: every reading judged, on a study in which all of it is so."""

import copy

import claim_study as study
import numpy as np
import pandas as pd
import pytest
from messages import assert_sentence

from keygenes.core import config as settings
from keygenes.core.claims_file import read_claims
from keygenes.core.errors import InputError
from keygenes.core.schemas import TABLES
from keygenes.core.tables import read_table, write_table
from keygenes.evidence.claim_tests import TESTS
from keygenes.evidence.claims import decided_by_holm, holm, judge, judge_claims
from keygenes.evidence.gene_sets import membership, read_gene_set
from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED, UNTESTABLE, VERDICTS, tally

MANY = [f"G{i}" for i in range(200, 540)]  # where hardly a gene changes, random ones do not either
PAIRS = [
    (["full", "frozen"], study.LATE),
    (["full", "upstream_freeze6"], study.LATE),
    (["last_layer", "frozen"], study.LAST_ALONE),
    (["upstream_freeze5", "upstream_freeze6"], study.LAST_ALONE),
]


@pytest.fixture(scope="module")
def schema(repository):
    return settings.read_yaml(repository / "workflow/schemas/claims.schema.yaml")


@pytest.fixture(scope="module")
def document(repository, schema):
    return read_claims(repository / "config/claims.yaml", schema)


def so_it_is():
    """Return tables in which the thesis's claims are so, and no control explains them."""
    level = study.metrics(
        full=0.91,
        frozen=0.85,
        frozen_five_epochs=0.85,
        upstream_freeze6=0.85,
        last_layer=0.87,
        upstream_freeze5=0.87,
        full_random_split__random=0.91,
        majority=0.6,
        length_only=0.65,
        majority__random=0.6,
    )
    dose = study.metrics(
        full=0.5,
        frozen=0.5,
        frozen_five_epochs=0.5,
        upstream_freeze6=0.5,
        last_layer=0.5,
        upstream_freeze5=0.5,
        full_random_split__random=0.5,
        majority=0.2,
    )
    shifts = study.shift(["full", "frozen"], study.as_in_figure_6, study.as_in_figure_6)
    inputs = pd.concat(
        [
            study.input_length("accuracy", 0.95, 0.04, 0.01),
            study.input_length("mitochondrial_in_top", 1, -4, 1),
            study.input_length("ribosomal_in_top", 0, -4, 1),
            study.input_length("peak_below_median", 0, -2, 1, against="frozen_equal_length"),
        ]
    )
    genes = pd.concat(
        [
            study.track("attention_total", study.FIGURE_8),
            study.track("attention_received", study.FIGURE_8),
            study.track("attention_residual", study.FIGURE_8),
            study.track("attention_total", study.ELSEWHERE, "permuted_labels"),
            study.track("wilcoxon", study.EXPRESSED, None, seeds=()),
            study.track("pseudobulk", study.EXPRESSED, None, seeds=()),
        ]
    )
    card = pd.concat(
        [
            study.scorecard(),
            study.scorecard(
                aspect="truth", against="fischer2017", metric="precision_at_25", matched_p=0.01
            ),
        ]
    )
    cosine = pd.concat([study.cosine(pair, change, change) for pair, change in PAIRS])
    norms = pd.concat(
        [
            study.norms("full", output=[2, 9, 3, 3, 2, 2], weighted=[2, 9, 3, 3, 2, 2]),
            study.norms("frozen", output=[2, 5, 3, 3, 2, 2]),
        ]
    )
    confusion = pd.concat(
        [
            study.confusion(name, 30, 5)
            for name in ("frozen", "frozen_five_epochs", "upstream_freeze6")
        ]
    )
    both = {
        "cosine": cosine,
        "rank_shift": shifts,
        "norms": norms,
        "genes": genes,
        "key_genes": study.key_genes(),
        "attended": study.attended(study.FIGURE_8, MANY),
        "scorecard": card,
        "confusion": confusion,
        "input_length": inputs,
    }
    tables = {name: {"dose": table, "level": table} for name, table in both.items()}
    return {**tables, "metrics": {"dose": dose, "level": level}}


@pytest.fixture(scope="module")
def judged(document):
    """Return the verdicts on the study in which all is so."""
    return judge(document, so_it_is(), study.CLASSES)


def verdicts(frame, claim, part=""):
    rows = frame[(frame["claim"] == claim) & frame["reading"].str.contains(part, regex=False)]
    assert len(rows)
    return set(rows["verdict"])


@pytest.mark.slow
def test_the_thesis_holds_where_all_it_says_is_so(judged):
    frame = judged
    assert set(frame.columns) == set(TABLES["claims"].names)
    assert list(frame["claim"].unique()) == list("abcdefghijkl")
    for claim in "abcdehjl":
        assert verdicts(frame, claim) == {HOLDS}, claim
    # readings that contradict each other cannot all hold
    # of six layers one is right by chance too often for more
    assert verdicts(frame, "f", "layer 2 (Figure 9") == {PART}
    assert verdicts(frame, "f", "layer 1 (the text") == {FAILS}
    assert verdicts(frame, "f", "layer 2 changes most, by norm") == {PART}
    assert verdicts(frame, "f", "layer 2 changes most, by cosine") == {FAILS}
    for part in ("rank 210", "rank 200", "all cells", "high doses"):
        assert verdicts(frame, "g", part) == {HOLDS}, part
    assert verdicts(frame, "g", "low doses") == {FAILS}
    # nearly a third of the ranks: a peak anywhere lies there too often
    assert verdicts(frame, "g", "within the first 210") == {UNDECIDED}
    assert verdicts(frame, "i", "MDM2") == {HOLDS}
    assert verdicts(frame, "i", "first five") == {HOLDS}
    assert verdicts(frame, "i", "nine of") == {HOLDS}
    assert verdicts(frame, "k", "Fischer") == {HOLDS}
    assert verdicts(frame, "k", "hallmark") == {UNTESTABLE}
    tested = frame[frame["verdict"] != UNTESTABLE]
    assert tested[["value", "n", "n_of", "unit", "why", "control"]].notna().all().all()
    assert frame["why"].str.len().gt(0).all()


@pytest.mark.slow
def test_every_reading_has_a_row_per_task(document, judged):
    frame = judged
    expected = [
        (claim["id"], reading["name"], task)
        for claim in document["claims"]
        for reading in claim["readings"]
        for task in reading["tasks"]
    ]
    assert list(zip(frame["claim"], frame["reading"], frame["task"], strict=True)) == expected
    # what is ambiguous in the text is judged in each reading
    for claim, readings in {
        "a": ["the head alone", "freeze_layers"],
        "d": ["the head alone", "freeze_layers"],
        "e": ["the head alone", "freeze_layers"],
        "f": ["layer 1", "layer 2", "layer 3"],
        "g": ["rank 210", "rank 200", "within the first 210", "high doses", "low doses"],
    }.items():
        for part in readings:
            assert verdicts(frame, claim, part)


@pytest.mark.slow
def test_p_belongs_to_the_primary_readings_alone(document, judged):
    frame = judged
    primary = {
        (claim["id"], reading["name"])
        for claim in document["claims"]
        for reading in claim["readings"]
        if reading.get("primary")
    }
    decide = frame[frame["primary"]]
    assert set(zip(decide["claim"], decide["reading"], strict=True)) == primary
    assert not decide["claim"].duplicated().any()
    with_p = frame[frame["p"].notna()]
    assert with_p["primary"].all()
    # layers and peaks are too few for a p: how often chance finds them stands beside the verdict
    assert set(with_p["claim"]) == set("abcehijkl")
    assert (with_p["p_holm"] >= with_p["p"]).all()
    assert frame.loc[frame["p"].isna(), "p_holm"].isna().all()


@pytest.mark.slow
def test_holm_by_hand():
    found = holm([0.01, np.nan, 0.04, 0.03])
    assert found[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06])
    assert np.isnan(found[1])
    assert np.isnan(holm([np.nan])).all()


def test_a_study_of_something_else_can_test_nothing(document):
    classes = {"treatment": ["vehicle", "nutlin"], "level": ["low", "middle", "high"]}
    frame = judge(document, {}, classes)
    assert set(frame["verdict"]) == {UNTESTABLE}
    assert frame[["value", "ci_low", "p", "p_holm"]].isna().all().all()
    assert frame.loc[frame["task"] == "dose", "why"].str.contains("'dose'").all()
    level = frame.loc[frame["task"] == "level", "why"].unique()
    assert len(level) == 1
    assert "low, middle, high" in level[0] and "low, high" in level[0]


@pytest.mark.slow
def test_the_order_of_classes_does_not_matter(document, judged):
    classes = {"dose": study.DOSES[::-1], "level": ["high", "low"]}
    swapped = judge(document, so_it_is(), classes)
    pd.testing.assert_frame_equal(swapped, judged)


@pytest.mark.slow
@pytest.mark.parametrize(
    "metrics, reason",
    [
        (
            study.metrics(full=(0.61, 0.58, 0.64), majority=0.6),
            "less the commonest class's is +0.01",
        ),
        (study.metrics(full=0.91, majority=0.6, one_class=["full"]), "names one class"),
    ],
)
def test_what_a_model_attends_to_that_has_not_learnt_is_no_evidence(document, metrics, reason):
    tables = so_it_is()
    tables["metrics"]["level"] = metrics
    frame = judge(document, tables, study.CLASSES)
    level, dose = (frame[frame["task"] == task] for task in ("level", "dose"))
    of_full = level[level["claim"].isin(list("dfghik")) & level["unit"].notna()]
    of_full = of_full[~of_full["reading"].str.contains("hallmark|ship with")]
    assert set(of_full["verdict"]) == {UNTESTABLE}
    assert of_full["p"].isna().all()
    assert of_full["why"].str.contains("full has not learnt the task").all()
    assert of_full["why"].str.contains(reason, regex=False).all()
    assert of_full["value"].notna().all()  # what was measured stays
    own = level[
        (level["claim"] == "b") & (level["reading"].str.startswith("all layers train; who"))
    ]
    assert own["verdict"].item() != HOLDS
    assert reason in own["why"].item()
    assert not dose["why"].str.contains("not learnt").any()


@pytest.mark.slow
def test_holm_decides():
    primary = {"claim": "k", "reading": "r", "verdict": HOLDS, "why": "so"}
    found = decided_by_holm(pd.DataFrame([{**primary, "p": p} for p in (0.03, 0.04, 0.001)]))
    assert found["p_holm"].tolist() == pytest.approx([0.06, 0.06, 0.003])
    assert found["verdict"].tolist() == [UNDECIDED, UNDECIDED, HOLDS]
    assert "p is 0.06 after Holm" in found["why"].iloc[0]


@pytest.mark.slow
def test_a_regime_that_is_missing_takes_only_its_own_claims(document, judged):
    tables = so_it_is()
    for task in ("dose", "level"):
        metrics = tables["metrics"][task]
        tables["metrics"][task] = metrics[metrics["regime"] != "upstream_freeze6"]
        cosine = tables["cosine"][task]
        tables["cosine"][task] = cosine[cosine["b"] != "upstream_freeze6"]
        confusion = tables["confusion"][task]
        tables["confusion"][task] = confusion[confusion["regime"] != "upstream_freeze6"]
    frame = judge(document, tables, study.CLASSES)
    gone = frame["verdict"].astype(str) != judged["verdict"].astype(str)
    assert gone.any()
    assert frame.loc[gone, "reading"].str.contains("upstream's freeze_layers").all()
    assert set(frame.loc[gone, "verdict"]) == {UNTESTABLE}
    assert frame.loc[gone, "why"].str.contains("upstream_freeze6").all()


@pytest.mark.slow
def test_the_file_that_is_written(judged, repository, tmp_path):
    tables = so_it_is()
    norms = tables.pop("norms")
    paths, runs = {}, {}
    for name, of_task in tables.items():
        paths[name] = {}
        for task, table in of_task.items():
            paths[name][task] = tmp_path / f"{name}.{task}.parquet"
            write_table(table, paths[name][task])
    for task, table in norms.items():
        runs[task] = {}
        for run, part in table.groupby(["regime", "fold", "seed"]):
            runs[task][run] = tmp_path / f"norms.{task}.{'.'.join(map(str, run))}.parquet"
            part = part.assign(sd=0.1, head=part["head"].astype("Int64"))
            part = part.drop(columns=["regime", "fold", "seed"])
            write_table(part, runs[task][run], "norms")
    out = tmp_path / "claims.parquet"
    arguments = {"claims": repository / "config/claims.yaml", "files": paths, "norms": runs}
    judge_claims(**arguments, classes=study.CLASSES, out=out)
    written = read_table(out)
    assert list(written["verdict"].cat.categories) == list(VERDICTS)
    assert written["verdict"].tolist() == judged["verdict"].tolist()
    assert written["why"].tolist() == judged["why"].tolist()
    assert sum(tally(written["verdict"]).values()) == len(written)


def test_of_the_thesis_thirty_genes_four_are_targets(data_root):
    table, targets = (
        data_root / "truth/thesis_figure8.tsv",
        data_root / "truth/fischer2017_p53_targets.tsv",
    )
    if not (table.is_file() and targets.is_file()):
        pytest.skip(f"no {table.name} or {targets.name} under {data_root}")
    thirty = pd.read_csv(table, sep="\t")["gene"]
    members = read_gene_set(targets, {"format": "tsv"})
    flags = membership(thirty, thirty, members)
    assert len(thirty) == 30
    assert sorted(thirty[flags]) == ["ITGA3", "MDM2", "MYOF", "TP53I3"]
    group = thirty.str.match("MT-|RPL|RPS")
    assert (group[:5].sum(), group.sum()) == (5, 9)
    assert list(thirty).index("MDM2") + 1 == 6


def test_the_thesis_values_are_those_of_its_table(document, data_root):
    path = data_root / "truth/thesis_figure8.tsv"
    if not path.is_file():
        pytest.skip(f"no {path.name} under {data_root}")
    row = pd.read_csv(path, sep="\t").set_index("gene").loc["MDM2"]
    [claim] = [claim for claim in document["claims"] if claim["id"] == "g"]
    printed = {reading["thesis"] for reading in claim["readings"] if "headers" in reading["name"]}
    assert {float(value) for value in printed} == {row["avg_rank_high_as_printed"]}


# The file of claims


def change(document, key, value):
    document = copy.deepcopy(document)
    *parents, last = [int(part) if part.isdigit() else part for part in key.split(".")]
    place = document
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.slow
@pytest.mark.parametrize(
    "key, value, found",
    [
        ("claims.0.readings.0.parameters.tolerence", 0.1, "write 'tolerance'"),
        ("claims.0.readings.0.parameters.controls", ..., "nothing"),
        ("claims.0.readings.0.parameters.tolerance", -0.1, "-0.1"),
        ("claims.0.readings.0.test", "acuracy", "'acuracy'"),
        ("claims.0.readings.0.remark", "x", "an unknown key"),
        ("claims.0.readings.0.thesis", 0.5, "0.5"),
        ("claims.0.where", ..., "nothing"),
        ("claims.3.readings.0.parameters.layers", ["upper"], "'upper'"),
        ("version", 2, "2"),
        ("author", "me", "an unknown key"),
    ],
)
def test_what_the_schema_refuses(document, schema, key, value, found):
    with pytest.raises(InputError) as error:
        settings.check(change(document, key, value), schema, "mine.yaml, key")
    assert_sentence(error, "mine.yaml, key", found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "key, value, found",
    [
        ("claims.1.id", "a", "two claims with the id 'a'"),
        ("claims.0.readings.0.tasks", ["doses"], "'doses'"),
        ("claims.0.readings.0.primary", False, "0 readings with 'primary: true' of claim 'a'"),
        ("claims.0.readings.1.primary", True, "2 readings with 'primary: true' of claim 'a'"),
        ("claims.2.readings.0.tasks", ["level", "dose"], "2 tasks in the primary reading"),
    ],
)
def test_what_does_not_fit_together(document, schema, tmp_path, key, value, found):
    path = tmp_path / "mine.yaml"
    path.write_text(settings.yaml.safe_dump(change(document, key, value)))
    with pytest.raises(InputError) as error:
        read_claims(path, schema)
    assert_sentence(error, str(path), found)


def test_no_claims_and_no_file(schema, tmp_path):
    assert read_claims(None, schema) is None
    with pytest.raises(InputError) as error:
        read_claims(tmp_path / "none.yaml", schema)
    assert_sentence(error, str(tmp_path / "none.yaml"))


def test_the_example_of_the_documentation_is_valid(repository, schema, tmp_path):
    text = (repository / "docs/reproducing-the-thesis.md").read_text(encoding="utf-8")
    path = tmp_path / "example.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    [claim] = read_claims(path, schema)["claims"]
    genes = study.track("attention_total", ["G1", "G2"])
    [row] = judge(
        {**read_claims(path, schema), "claims": [claim]},
        {"genes": {"treatment": genes}, "metrics": {"treatment": study.metrics()}},
        {"treatment": ["vehicle", "drug"]},
    ).to_dict("records")
    assert row["verdict"] == UNTESTABLE  # of the made-up genes none is TP53I3


def test_every_test_is_in_the_documentation(repository):
    text = (repository / "docs/reproducing-the-thesis.md").read_text(encoding="utf-8")
    assert [name for name in TESTS if f"`{name}`" not in text] == []


@pytest.mark.slow
def test_claims_of_ones_own(schema, tmp_path):
    mine = {
        "version": 1,
        "title": "Our claims",
        "source": "us",
        "tasks": {"treatment": ["vehicle", "nutlin"]},
        "claims": [
            {
                "id": "ours",
                "statement": "It works.",
                "where": "abstract",
                "readings": [
                    {
                        "name": "as said",
                        "thesis": "0.9",
                        "tasks": ["treatment"],
                        "test": "accuracy",
                        "primary": True,
                        "parameters": {
                            "regime": "full",
                            "accuracy": 0.9,
                            "tolerance": 0.03,
                            "controls": [],
                        },
                    }
                ],
            }
        ],
    }
    path = tmp_path / "mine.yaml"
    path.write_text(settings.yaml.safe_dump(mine))
    tables = {"metrics": {"treatment": study.metrics(full=(0.92, 0.915, 0.925))}}
    [row] = judge(read_claims(path, schema), tables, mine["tasks"]).to_dict("records")
    assert (row["claim"], row["verdict"], row["value"]) == ("ours", HOLDS, 0.92)
