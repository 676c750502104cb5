"""Every test of a claim, on tables whose answer is known: held, held in part, failed, lacking."""

import inspect

import claim_study as study
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from stated import names_in, numbers_in, states

from keygenes.core import config as settings
from keygenes.evidence import claim_tests as tests
from keygenes.evidence.claim_tables import NotTestable
from keygenes.evidence.verdicts import FAILS, HOLDS, PART, UNDECIDED

PAIR = ["full", "frozen"]


def tables(**of_level):
    return {name: {"level": table} for name, table in of_level.items()}


def of_control(found, name):
    """Return the numbers that the text of controls gives one of them: none where it is lacking."""
    [part] = [part for part in found["control"].split("; ") if names_in(part, [name])]
    return numbers_in(part)


def test_the_schema_knows_every_test_and_its_parameters(repository):
    schema = settings.read_yaml(repository / "workflow/schemas/claims.schema.yaml")
    reading = schema["definitions"]["reading"]
    assert reading["properties"]["test"]["enum"] == list(tests.TESTS)
    known = {}
    for rule in reading["allOf"]:
        parameters = rule["then"]["properties"]["parameters"]
        assert parameters["required"] == list(parameters["properties"])
        known[rule["if"]["properties"]["test"]["const"]] = parameters["required"]
    for name, function in tests.TESTS.items():
        signature = inspect.signature(function).parameters.values()
        named = {p.name for p in signature if p.kind == p.KEYWORD_ONLY}
        # 'class' is no name that Python allows
        extra = {"class"} if any(p.kind == p.VAR_KEYWORD for p in signature) else set()
        assert set(known[name]) == named | extra, name


# Accuracy


@pytest.mark.parametrize(
    "full, verdict, interval",
    [
        ((0.49, 0.45, 0.53), HOLDS, (0.46, 0.52)),
        ((0.5, 0.38, 0.62), UNDECIDED, (0.4, 0.6)),
        ((0.54, 0.51, 0.57), UNDECIDED, (0.52, 0.56)),
        ((0.46, 0.43, 0.49), UNDECIDED, (0.44, 0.48)),
        ((0.62, 0.58, 0.66), FAILS, (0.59, 0.65)),
    ],
)
def test_accuracy(full, verdict, interval):
    def tested(full):
        return tests.accuracy(
            tables(metrics=study.metrics(full=full, majority=0.2, length_only=0.47)),
            "level",
            regime="full",
            accuracy=0.5,
            tolerance=0.05,
            controls=["majority", "length_only", "token0"],
        )

    found = tested(full)
    assert found["verdict"] == verdict
    assert states(found["why"], 0.5, abs(full[0] - 0.5), 90, *interval, 0.45, 0.55, digits=2)
    assert "majority" not in found["why"], "which guesses worse"
    assert (found["value"], found["ci_low"], found["ci_high"]) == full
    assert found["n"] == 600
    assert [of_control(found, name) for name in ("majority", "length_only", "token0")] == [
        *([0.20], [0.47], []),
    ]
    beaten = tested((0.99, 0.98, 1.0))["control"]
    assert (found["control"] == beaten) == (full[1] > 0.47)


def test_an_accuracy_that_guessing_reaches_holds_in_part():
    metrics = study.metrics(full=(0.49, 0.45, 0.53), majority=0.46)
    with_control = {"regime": "full", "accuracy": 0.5, "tolerance": 0.05, "controls": ["majority"]}
    found = tests.accuracy(tables(metrics=metrics), "level", **with_control)
    assert found["verdict"] == PART
    assert "majority" in found["why"]


def test_controls_are_those_of_the_same_design():
    metrics = study.metrics(
        full_random_split__random=(0.9, 0.88, 0.92), majority=0.6, majority__random=0.95
    )
    found = tests.accuracy(
        tables(metrics=metrics),
        "level",
        regime="full_random_split",
        accuracy=0.9,
        tolerance=0.05,
        controls=["majority"],
    )
    assert of_control(found, "majority") == [0.95]
    assert found["verdict"] == PART


@pytest.mark.parametrize(
    "frozen, verdict",
    [
        ((0.85, 0.83, 0.87), HOLDS),
        ((0.85, 0.78, 0.92), UNDECIDED),  # a wide interval is no evidence
        ((0.95, 0.93, 0.97), FAILS),
    ],
)
def test_accuracy_difference(frozen, verdict):
    metrics = study.metrics(full=(0.91, 0.905, 0.915), frozen=frozen)
    claim = {"regime": "full", "over": "frozen", "difference": 0.06, "tolerance": 0.05}
    found = tests.accuracy_difference(tables(metrics=metrics), "level", **claim)
    assert found["verdict"] == verdict
    assert found["value"] == pytest.approx(0.91 - frozen[0])
    assert numbers_in(found["unit"]) == [95], "over no number of wells"
    half = np.hypot(0.005, frozen[2] - frozen[0])
    assert found["ci_low"] == pytest.approx(found["value"] - half)


@pytest.mark.parametrize("regime, over, sign", [("full", "frozen", 1), ("frozen", "full", -1)])
def test_a_paired_interval_is_preferred(regime, over, sign):
    metrics = study.gain(study.metrics(full=0.91, frozen=0.85), "frozen", 0.06, 0.04, 0.09)
    claim = {"difference": 0.06 * sign, "tolerance": 0.05}
    found = tests.accuracy_difference(
        tables(metrics=metrics), "level", regime=regime, over=over, **claim
    )
    assert [found["ci_low"], found["ci_high"]] == sorted([0.04 * sign, 0.09 * sign])
    assert numbers_in(found["unit"]) == [95, 30]


def test_a_paired_interval_of_another_regime_is_not_taken():
    metrics = study.gain(study.metrics(last=0.88, frozen=0.85), "frozen", 0.06, 0.04, 0.09)
    claim = {"difference": 0.03, "tolerance": 0.05}
    found = tests.accuracy_difference(
        tables(metrics=metrics), "level", regime="last", over="frozen", **claim
    )
    assert numbers_in(found["unit"]) == [95]


@pytest.mark.parametrize(
    "length_only, majority, verdict", [(0.7, 0.6, HOLDS), (0.84, 0.6, PART), (0.7, 0.83, FAILS)]
)
def test_beats_controls(length_only, majority, verdict):
    metrics = study.metrics(frozen=(0.85, 0.82, 0.88), majority=majority, length_only=length_only)
    found = tests.beats_controls(
        tables(metrics=metrics),
        "level",
        regime="frozen",
        chance="majority",
        controls=["length_only", "random_frozen"],
    )
    assert found["verdict"] == verdict
    assert states(found["why"], 0.85 - majority, digits=2)
    assert ("length_only" in found["why"]) == (verdict == PART)
    t = (0.85 - majority) / (0.06 / (2 * scipy.stats.t.ppf(0.975, 15)))
    assert found["p"] == pytest.approx(scipy.stats.t.sf(t, 15))


@pytest.mark.parametrize(
    "within, across, verdict",
    [(30, 5, HOLDS), (12, 12, FAILS), (18, 11, HOLDS), (5, 30, FAILS)],
)
def test_confusion_within(within, across, verdict):
    found = tests.confusion_within(
        {"confusion": {"dose": study.confusion("frozen", within, across)}},
        "dose",
        regime="frozen",
        groups={"low": ["0", "1.25", "2.5"], "high": ["12.5", "25"]},
        share=0.5,
    )
    # of 20 ordered pairs of doses 8 lie within a group
    assert found["value"] == pytest.approx(8 * within / (8 * within + 12 * across))
    assert found["n"] == 3 * (8 * within + 12 * across)
    assert found["verdict"] == verdict
    assert numbers_in(found["unit"]) == [9], "models"


def test_errors_no_better_placed_than_chance_hold_in_part():
    # every cell is called '0': errors within the group, but only as independent errors are
    table = study.confusion("frozen", 0, 0, hits=0)
    table["n_cells"] = np.where(table["predicted"] == "0", 50, 0)
    table.loc[table["true"].isin(["12.5", "25"]), "n_cells"] //= 5
    groups = {"low": ["0", "1.25", "2.5"], "high": ["12.5", "25"]}
    of_dose = {"confusion": {"dose": table}}
    claim = {"regime": "frozen", "groups": groups, "share": 0.5}
    found = tests.confusion_within(of_dose, "dose", **claim)
    assert found["value"] == pytest.approx(100 / 120)
    # so few classes are named that chance alone leaves the errors there
    assert found["verdict"] == UNDECIDED
    assert found["null_in_part"] == 1
    assert found["p"] > 0.05
    with pytest.raises(NotTestable, match=r"\b25\b.*dose"):
        groups = {"low": ["0", "1.25", "2.5"], "high": ["12.5"]}
        tests.confusion_within(of_dose, "dose", **{**claim, "groups": groups})


# Layers

LATE = study.LATE
EARLY = [0.09, 0.08, 0.01, 0.01, 0.05, 0.02]
NEARLY = [0.01, 0.03, 0.02, 0.06, 0.01, 0.09]
ONE_OF_TWO = [0.01, 0.01, 0.001, 0.001, 0.01, 0.09]


@pytest.mark.parametrize(
    "change, pearson, between_seeds, verdict",
    [
        (LATE, LATE, 0.001, HOLDS),
        (LATE, EARLY, 0.001, PART),  # Pearson names other layers
        (LATE, LATE, 0.2, PART),  # two seeds differ as much
        (LATE, None, None, HOLDS),
        (ONE_OF_TWO, ONE_OF_TWO, None, FAILS),
        (NEARLY, NEARLY, None, PART),  # one of the two middle layers does not lead
        (NEARLY, EARLY, None, FAILS),  # and another measure names other layers
        (EARLY, EARLY, None, FAILS),
        ([0.0] * 6, [0.0] * 6, None, FAILS),
    ],
)
def test_layers_change_most(change, pearson, between_seeds, verdict):
    found = tables(cosine=study.cosine(PAIR, change, pearson))
    if between_seeds is not None:
        row = {
            "regime": "full",
            "bound": "other_seed",
            "fold": 1,
            "seed": 1,
            "other_fold": 1,
            "other_seed": 2,
        }
        bounds = [{**row, "layer": i, "head": 1, "cosine": 1 - between_seeds} for i in range(1, 7)]
        found |= tables(bounds=pd.DataFrame(bounds))
    found = tests.layers_change_most(found, "level", pair=PAIR, layers=["middle", "last"])
    assert found["verdict"] == verdict
    expected = np.mean([change[2], change[3], change[5]]) - np.mean(np.array(change)[[0, 1, 4]])
    assert found["value"] == pytest.approx(expected)
    assert found["n"] == 600
    assert numbers_in(found["control"])[:1] == ([between_seeds] if between_seeds else [])


def test_the_control_of_layers_is_told_as_it_is():
    said = set()
    for pearson in (LATE, EARLY, None):
        found = tables(cosine=study.cosine(PAIR, LATE, pearson))
        claim = {"pair": PAIR, "layers": ["middle", "last"]}
        said.add(tests.layers_change_most(found, "level", **claim)["control"])
    assert len(said) == 3 and all("Pearson" in text for text in said)


def test_pairs_are_found_in_either_order_or_not_at_all():
    found = tables(cosine=study.cosine(PAIR, LATE))
    claim = {"layers": ["last"]}
    # of six layers one is the last in 1 of 6 orders
    result = tests.layers_change_most(found, "level", pair=PAIR[::-1], **claim)
    assert (result["verdict"], result["null_holds"]) == (PART, pytest.approx(1 / 6))
    with pytest.raises(NotTestable, match=r"full.*upstream_freeze6.*attention\.pairs"):
        tests.layers_change_most(found, "level", pair=["full", "upstream_freeze6"], **claim)
    with pytest.raises(NotTestable, match=r"\b2\b.*middle.*last"):
        two = tables(cosine=study.cosine(PAIR, [0.1, 0.2]))
        tests.layers_change_most(two, "level", pair=PAIR, layers=["middle", "last"])


@pytest.mark.parametrize(
    "own, pearson, verdict",
    [
        (0.01, 0.02, HOLDS),
        (0.01, 0.4, PART),  # by Pearson it is most of the change
        (0.03, 0.02, FAILS),  # small beside the whole, not in itself
        (0.08, 0.02, FAILS),
    ],
)
def test_change_is_small(own, pearson, verdict):
    table = pd.concat(
        [
            study.cosine(["last_layer", "frozen"], [0, 0, own], [0, 0, pearson]),
            study.cosine(PAIR, [0.01, 0.02, 0.09], [0.1, 0.2, 0.5]),
        ]
    )
    found = tests.change_is_small(
        tables(cosine=table),
        "level",
        pair=["last_layer", "frozen"],
        than=PAIR,
        max_change=0.02,
        max_share=0.5,
    )
    assert found["verdict"] == verdict
    assert found["value"] == pytest.approx(own)


@pytest.mark.parametrize(
    "output, value, verdict, largest",
    [
        ([2, 9, *[3] * 10], range(12), HOLDS, 2),
        ([2, 9, *[3] * 10], [0, 5, *[1] * 10], PART, 2),  # so are the vectors without attention
        ([2, 9, 8, *[3] * 9], range(12), PART, 2),  # largest, but not by far
        ([2, 9, 8, *[3] * 9], [0, 5, *[1] * 10], FAILS, 2),  # and explained
        ([2, 5, 9, *[3] * 9], range(12), FAILS, 3),
        ([2, 9, 3, 3, 3, 3], range(6), PART, 2),  # of six, one is right by chance too often
    ],
)
def test_largest_norm(output, value, verdict, largest):
    found = tests.largest_norm(
        tables(norms=study.norms("full", output=output, value=value)),
        "level",
        regime="full",
        measure="output",
        layer=2,
        by_far=0.5,
    )
    assert (found["verdict"], found["value"]) == (verdict, largest)
    assert (found["ci_low"], found["ci_high"]) == (largest, largest)


def test_norms_that_are_not_there():
    found = tables(norms=study.norms("full", output=[1, 2]))
    claim = {"measure": "output", "layer": 2, "by_far": 0.5}
    with pytest.raises(NotTestable, match="'output'.*other"):
        tests.largest_norm(found, "level", regime="other", **claim)
    with pytest.raises(NotTestable, match=r"\b7\b"):
        tests.largest_norm(found, "level", regime="full", **{**claim, "layer": 7})


@pytest.mark.parametrize(
    "change, pearson, verdict",
    [
        ([0.01, 0.09, 0.02], [0.1, 0.5, 0.2], HOLDS),
        ([0.01, 0.09, 0.02], [0.1, 0.2, 0.5], PART),
        ([0.01, 0.02, 0.09], [0.1, 0.2, 0.5], FAILS),
    ],
)
def test_largest_change_by_cosine(change, pearson, verdict):
    change, pearson = [*change, *[0.0] * 9], [*pearson, *[0.0] * 9]
    found = tables(cosine=study.cosine(PAIR, change, pearson))
    found = tests.largest_change(found, "level", pair=PAIR, by="cosine", layer=2)
    assert found["verdict"] == verdict
    assert found["value"] == 1 + int(np.argmax(change))


@pytest.mark.parametrize(
    "full, verdict", [([1.5, 9, 4], HOLDS), ([4, 9.5, 4], PART), ([2, 4, 9], FAILS)]
)
def test_largest_change_by_norm(full, verdict):
    # PART: layer 2 moves most, layer 1 most beside its own size
    rest = [2.0] * 9
    table = pd.concat(
        [
            study.norms("full", output=[*full, *rest]),
            study.norms("frozen", output=[1, 4.5, 3, *rest]),
        ]
    )
    claim = {"pair": PAIR, "by": "norm", "layer": 2}
    found = tests.largest_change(tables(norms=table), "level", **claim)
    assert found["verdict"] == verdict
    same = pd.concat([study.norms(name, output=[1, 2]) for name in PAIR])
    with pytest.raises(NotTestable, match="full.*frozen"):
        tests.largest_change(tables(norms=same), "level", **claim)


# Ranks


def bump(at, height=20.0, width=15):
    return lambda rank: height * np.exp(-(((rank - at) / width) ** 2))


@pytest.mark.parametrize(
    "change, residual, per_run, verdict",
    [
        (bump(210), bump(212), None, HOLDS),
        (bump(210), None, None, HOLDS),
        (bump(210, -20.0), bump(205), None, HOLDS),  # the largest shift may be a loss
        (bump(210), bump(600), None, PART),  # gone after length correction
        (bump(210), bump(210), {(1, 2): bump(400, 5.0)}, PART),  # not in every seed
        (bump(400), bump(400), None, FAILS),
    ],
)
def test_shift_peaks(change, residual, per_run, verdict):
    found = tests.shift_peaks(
        tables(rank_shift=study.shift(PAIR, change, residual, per_run=per_run)),
        "level",
        pair=PAIR,
        between=[0.278, 0.337],
        smooth=0.016,
        min_share=0.05,
    )
    assert found["verdict"] == verdict
    assert found["n"] == 600
    assert (numbers_in(found["control"]) == []) == (residual is None)


def test_ranks_that_few_cells_reach_make_no_peak():
    found = tables(rank_shift=study.shift(PAIR, lambda r: 500.0 if r > 990 else bump(210)(r)))
    claim = {"pair": PAIR, "between": [0.278, 0.337], "smooth": 0.001}
    assert tests.shift_peaks(found, "level", min_share=0.05, **claim)["value"] == pytest.approx(
        210 / 683
    )
    assert tests.shift_peaks(found, "level", min_share=0.0, **claim)["value"] > 990 / 683


def test_models_that_do_not_differ_have_no_peak():
    found = tables(rank_shift=study.shift(PAIR, lambda r: 0.0))
    claim = {"between": [0.278, 0.337], "smooth": 0.016, "min_share": 0.05}
    with pytest.raises(NotTestable, match="full.*frozen"):
        tests.shift_peaks(found, "level", pair=PAIR, **claim)
    with pytest.raises(NotTestable, match=r"\ba\b.*\bb\b.*attention\.pairs"):
        tests.shift_peaks(found, "level", pair=["a", "b"], **claim)


@pytest.mark.parametrize(
    "at, crowd, cell_class, verdict",
    [
        (210, 0, None, HOLDS),
        (210, 0, "high", HOLDS),
        (210, 40, None, PART),  # forty other genes have such a mean rank
        (400, 0, None, FAILS),
    ],
)
def test_peak_at_gene(at, crowd, cell_class, verdict):
    ranks = {f"G{i}": 215.0 for i in range(crowd)}
    found = tables(
        rank_shift=study.shift(PAIR, bump(at), bump(at)), key_genes=study.key_genes(ranks=ranks)
    )
    claim = {"tolerance": 0.029, "smooth": 0.016, "min_share": 0.05, "max_others": 10, "pair": PAIR}
    claim["class"] = cell_class
    result = tests.peak_at_gene(found, "level", gene="MDM2", **claim)
    assert result["verdict"] == verdict
    if at == 210:
        assert numbers_in(result["control"])[0] == crowd
    with pytest.raises(NotTestable, match="CDKN1A"):
        tests.peak_at_gene(found, "level", gene="CDKN1A", **claim)
    with pytest.raises(NotTestable, match="'top'"):
        tests.peak_at_gene(found, "level", gene="MDM2", **{**claim, "class": "top"})


@pytest.mark.parametrize(
    "beyond, residual, per_run, verdict",
    [
        (-10.0, -1.0, None, HOLDS),
        (-10.0, None, None, HOLDS),
        (-10.0, 2.0, None, PART),  # explained by length
        (-10.0, -1.0, {(1, 2): 5.0}, PART),
        (4.0, -1.0, None, FAILS),
    ],
)
def test_loses_beyond_median(beyond, residual, per_run, verdict):
    def tail(value):
        return lambda rank: value if rank > study.MEDIAN else 1.0

    found = tests.loses_beyond_median(
        tables(
            rank_shift=study.shift(
                PAIR,
                tail(beyond),
                None if residual is None else tail(residual),
                per_run={seed: tail(v) for seed, v in (per_run or {}).items()},
            )
        ),
        "level",
        pair=PAIR,
        min_share=0.05,
    )
    assert found["verdict"] == verdict
    assert states(found["why"], study.MEDIAN)
    if per_run is None:
        assert found["value"] == pytest.approx(beyond)


def test_nothing_lies_beyond_the_median_of_equally_long_cells():
    table = study.shift(PAIR, lambda r: 1.0)
    table = table[table["rank"] <= study.MEDIAN]
    with pytest.raises(NotTestable):
        tests.loses_beyond_median(tables(rank_shift=table), "level", pair=PAIR, min_share=0.05)


def peak(rank):
    return 3.0 if study.MEDIAN - 33 <= rank <= study.MEDIAN else -1.0


@pytest.mark.parametrize(
    "change, residual, per_run, verdict",
    [
        (peak, peak, None, HOLDS),
        (peak, lambda r: 0.0, None, PART),
        (peak, peak, {(2, 1): lambda r: -1.0}, PART),
        (lambda r: -peak(r), peak, None, FAILS),
        (lambda r: 0.01 * r, peak, None, FAILS),  # a slope is no peak
    ],
)
def test_peak_below_median(change, residual, per_run, verdict):
    found = tests.peak_below_median(
        tables(rank_shift=study.shift(PAIR, change, residual, per_run=per_run)),
        "level",
        pair=PAIR,
        window=0.05,
        min_share=0.05,
    )
    assert found["verdict"] == verdict
    assert found["n"] == 34
    if change is peak and per_run is None:
        assert found["value"] == pytest.approx(4.0)


# Genes

GROUP = ["MT-*", "RPL*", "RPS*", "!RPS6K*"]
OTHERS = [f"G{i}" for i in range(100, 140)]


@pytest.mark.parametrize(
    "first, corrected, verdict",
    [
        (study.FIRST, study.FIRST, HOLDS),
        (study.FIRST, OTHERS, PART),  # not after length correction
        (["MT-X0", "G1", "RPL1", "RPS1", "G2"], study.FIRST, PART),  # three of five
        (["RPS6KA1", *OTHERS], OTHERS, FAILS),  # a kinase of that name is no ribosomal protein
    ],
)
def test_group_leads(first, corrected, verdict):
    genes = pd.concat(
        [study.track("attention_total", first), study.track("attention_residual", corrected)]
    )
    found = tests.group_leads(
        tables(genes=genes),
        "level",
        regime="full",
        track="attention_total",
        genes=GROUP,
        n_top=5,
        count=5,
        controls=["attention_residual", "attention_received"],
    )
    expected = sum(s.startswith(("MT-", "RPL", "RPS")) and s != "RPS6KA1" for s in first[:5])
    assert (found["verdict"], found["value"]) == (verdict, expected)
    assert found["n"] == study.N_GENES
    assert of_control(found, "attention_received") == []
    assert of_control(found, "attention_residual")[1] == 5
    exact = scipy.stats.hypergeom.sf(expected - 1, study.N_GENES, 50, 5)
    assert found["p"] == pytest.approx(exact, abs=0.02)  # all genes are detected as often here


def test_pooled_rows_may_be_missing():
    genes = study.track("attention_total", study.FIRST, pooled=False)
    claim = {"genes": GROUP, "n_top": 5, "count": 5, "controls": [], "track": "attention_total"}
    found = tests.group_leads(tables(genes=genes), "level", regime="full", **claim)
    assert (found["verdict"], found["control"]) == (HOLDS, "none")
    with pytest.raises(NotTestable, match=r"mt-\*"):
        claim = {**claim, "genes": ["mt-*"]}
        tests.group_leads(tables(genes=genes), "level", regime="full", **claim)
    with pytest.raises(NotTestable, match="'attention_total'.*other"):
        tests.group_leads(tables(genes=genes), "level", regime="other", **claim)


@pytest.mark.parametrize(
    "weight, cells, verdict", [(30, 1, HOLDS), (3, 1, PART), (1, 1, FAILS), (30, 400, FAILS)]
)
def test_group_share(weight, cells, verdict):
    def scores(order):
        return np.where([s.startswith(("MT-", "RPL", "RPS")) for s in order], weight, 1.0)

    genes = study.track("attention_total", study.FIRST, scores=scores)
    inside = genes["symbol"].str.match("MT-|RPL|RPS(?!6K)")
    genes["n_cells"] = np.where(inside, 100 * cells, 100)
    claim = {"regime": "full", "track": "attention_total", "genes": GROUP, "least": 0.5}
    found = tests.group_share(tables(genes=genes), "level", **claim)
    assert found["verdict"] == verdict
    # 50 genes of the group; one of the 550 others is called RPS too
    assert found["value"] == pytest.approx(50 * weight / (51 * weight + 549))
    assert found["n"] == 50


def led_by(gene, place):
    return [*OTHERS[: place - 1], gene]


@pytest.mark.parametrize(
    "place, residual, permuted, verdict, decided",
    [
        (6, 2, 200, HOLDS, ""),
        (6, 200, 200, PART, "attention_residual"),
        (6, 2, 5, PART, "permuted_labels"),  # labels that mean nothing put it there too
        (8, 2, 200, PART, ""),
        (20, 2, 200, FAILS, ""),
    ],
)
def test_gene_position(place, residual, permuted, verdict, decided):
    def track(name, at, regime="full"):
        if at < 100:
            return study.track(name, led_by("MDM2", at), regime)
        return study.track(name, OTHERS, regime)

    genes = pd.concat(
        [
            track("attention_total", place),
            track("attention_residual", residual),
            track("attention_total", permuted, "permuted_labels"),
        ]
    )
    claim = {"position": 6, "near": 10, "controls": ["attention_residual"], "regime": "full"}
    claim |= {"track": "attention_total", "control_regimes": ["permuted_labels", "none"]}
    found = tests.gene_position(tables(genes=genes), "level", gene="MDM2", **claim)
    assert (found["verdict"], found["value"]) == (verdict, place)
    assert names_in(found["why"], ["attention_residual", "permuted_labels"]) == {decided} - {""}
    assert of_control(found, "none") == []
    with pytest.raises(NotTestable, match="CDKN1A"):
        tests.gene_position(tables(genes=genes), "level", gene="CDKN1A", **claim)


@pytest.mark.parametrize(
    "tested, by_wells, verdict",
    [
        (OTHERS[30:], OTHERS[30:], HOLDS),
        (OTHERS[30:], OTHERS[:10], PART),  # the wells' own test shares more
        ([*OTHERS[:8], *study.FIRST], [], UNDECIDED),
        (OTHERS[:20], [], FAILS),
    ],
)
def test_lists_differ(tested, by_wells, verdict):
    filler = [f"G{i}" for i in range(200, 240)]
    far = [f"G{i}" for i in range(300, 340)]
    genes = pd.concat(
        [
            study.track("attention_total", [*OTHERS[:20], *filler]),
            study.track("wilcoxon", [*tested, *far], None, seeds=()),
            *([study.track("pseudobulk", [*by_wells, *far], None, seeds=())] if by_wells else []),
        ]
    )
    found = tests.lists_differ(
        tables(genes=genes),
        "level",
        regime="full",
        track="attention_total",
        against="wilcoxon",
        n_top=30,
        n_against=30,
        most=0.2,
        controls=["pseudobulk"],
    )
    shared = len(set([*tested, *far][:30]) & {*OTHERS[:20], *filler[:10]})
    assert (found["verdict"], found["value"]) == (verdict, shared)
    assert (of_control(found, "pseudobulk") == []) == (not by_wells)


def test_a_few_first_genes_of_another_list_are_looked_for_among_many():
    genes = pd.concat(
        [
            study.track("attention_total", OTHERS[:60]),
            study.track("wilcoxon", [*OTHERS[25:30], *OTHERS[60:]], None, seeds=()),
        ]
    )
    claim = {"regime": "full", "track": "attention_total", "against": "wilcoxon", "controls": []}
    found = tests.lists_differ(
        tables(genes=genes), "level", n_top=30, n_against=5, most=0.5, **claim
    )
    assert found["value"] == 5
    assert numbers_in(found["why"])[:2] == [5, 5]
    assert found["verdict"] == FAILS


@pytest.mark.parametrize(
    "n_changed, n_elsewhere, verdict",
    [
        (1, 290, HOLDS),
        (8, 290, UNDECIDED),
        (20, 290, FAILS),
        (1, 20, UNDECIDED),  # where few genes change, random ones do not either
    ],
)
def test_top_is_unchanged(n_changed, n_elsewhere, verdict):
    elsewhere = [f"G{i}" for i in range(200, 200 + n_elsewhere)]
    table = study.attended(OTHERS, [*OTHERS[:n_changed], *elsewhere])
    claim = {"n_top": 30, "fdr": 0.05, "min_abs_log2fc": 0.25, "most": 0.2}
    found = tests.top_is_unchanged(tables(attended=table), "level", **claim)
    assert (found["verdict"], found["value"]) == (verdict, n_changed)
    strict = {**claim, "min_abs_log2fc": 2}  # none changes by so much
    assert tests.top_is_unchanged(tables(attended=table), "level", **strict)["value"] == 0


@pytest.mark.parametrize(
    "row, verdict",
    [
        ({}, HOLDS),
        ({"value": -0.1, "ci_low": -0.18, "ci_high": -0.02}, HOLDS),  # some, but next to nothing
        ({"value": 0.0, "ci_low": -0.3, "ci_high": 0.3}, UNDECIDED),  # a wide interval
        ({"value": -0.4, "ci_low": -0.5, "ci_high": -0.3}, FAILS),  # the opposite is not nothing
        ({"value": 0.2, "ci_low": np.nan, "ci_high": np.nan}, UNDECIDED),
        ({"value": 0.6, "ci_low": 0.5, "ci_high": 0.7}, FAILS),
    ],
)
def test_uncorrelated(row, verdict):
    claim = {"regime": "full", "track": "attention_total", "against": "wilcoxon", "margin": 0.2}
    claim["metric"] = "partial_spearman"
    genes = study.track("attention_total", study.FIRST)
    found = tables(scorecard=study.scorecard(**row), genes=genes)
    result = tests.uncorrelated(found, "level", **claim)
    assert result["verdict"] == verdict
    assert result["n"] == study.N_GENES
    if np.isfinite(result["p"]):
        assert (result["p"] < 0.05) == (verdict == HOLDS)
    with pytest.raises(NotTestable, match="rbo.*attention_total.*wilcoxon"):
        tests.uncorrelated(found, "level", **{**claim, "metric": "rbo"})


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_nothing_in_common_needs_a_ranking_that_recurs(seeds):
    genes = study.track("attention_total", study.FIRST, seeds=seeds)
    second = genes["seed"] == 2
    rng = np.random.default_rng(1)
    genes.loc[second, "score"] = rng.permutation(genes.loc[second, "score"])
    expressed = study.track("wilcoxon", study.EXPRESSED, None, seeds=())
    found = tables(scorecard=study.scorecard(), genes=pd.concat([genes, expressed]))
    claim = {"regime": "full", "track": "attention_total", "against": "wilcoxon"}
    apart = {"metric": "partial_spearman", "margin": 0.2}
    lists = {"n_top": 30, "n_against": 30, "most": 0.2, "controls": []}
    for result in (
        tests.uncorrelated(found, "level", **claim, **apart),
        tests.lists_differ(found, "level", **claim, **lists),
    ):
        assert result["verdict"] == UNDECIDED
        assert ("Spearman" in result["why"]) == (len(seeds) > 1), "of two trainings"


TOP = ["MDM2", "G10", "G11", "G12", *OTHERS[:26]]  # four targets among thirty


@pytest.mark.slow
@pytest.mark.parametrize(
    "first, corrected, matched, verdict",
    [
        (TOP, TOP, 0.01, HOLDS),
        (TOP, TOP, 0.4, PART),  # as many among genes as common and as high in their cells
        (TOP, OTHERS, 0.01, PART),  # not after length correction
        (["G400", "G401", *TOP[:28]], TOP, 0.01, PART),  # six
        (TOP[2:], TOP, 0.01, PART),  # two
        (OTHERS, TOP, 0.01, FAILS),  # none
    ],
)
def test_targets_in_top(first, corrected, matched, verdict):
    filler = OTHERS[30:40]
    genes = pd.concat(
        [
            study.track("attention_total", [*first, *filler]),
            study.track("attention_residual", [*corrected, *filler]),
        ]
    )
    card = study.scorecard(
        aspect="truth", against="fischer2017", metric="precision_at_25", matched_p=matched
    )
    found = tables(genes=genes, key_genes=study.key_genes(), scorecard=card)
    claim = {"regime": "full", "track": "attention_total", "n_top": 30, "count": 4}
    claim |= {"tolerance": 2, "controls": ["attention_residual"], "matched": "precision_at_25"}
    result = tests.targets_in_top(found, "level", gene_set="fischer2017", **claim)
    assert result["verdict"] == verdict
    assert result["value"] == len(set(first[:30]) & set(study.TARGETS))
    assert of_control(result, "precision_at_25") == [matched]
    with pytest.raises(NotTestable, match=r"'hallmark_p53'.*evidence\.gene_sets"):
        tests.targets_in_top(found, "level", gene_set="hallmark_p53", **claim)


def test_a_gene_set_without_a_gene_of_the_study():
    genes = study.track("attention_total", TOP)
    found = tables(genes=genes, key_genes=study.key_genes(targets=[]))
    with pytest.raises(NotTestable, match="'fischer2017'"):
        tests.targets_in_top(
            found,
            "level",
            regime="full",
            track="attention_total",
            gene_set="fischer2017",
            n_top=30,
            count=4,
            tolerance=2,
            controls=[],
            matched="auroc",
        )


@pytest.mark.parametrize(
    "direction, difference, spread, of_control_regime, verdict",
    [
        ("up", 0.05, 0.02, 0.01, HOLDS),
        ("up", 0.05, 0.09, 0.01, FAILS),  # the interval includes 0
        ("up", 0.05, np.nan, 0.01, UNDECIDED),  # there is none
        ("up", 0.05, 0.02, 0.06, PART),  # equal depth gains as much
        ("up", -0.05, 0.02, 0.01, FAILS),
        ("down", -0.05, 0.02, -0.01, HOLDS),
        ("down", -0.05, 0.02, -0.06, PART),
        ("down", 0.05, 0.02, 0.01, FAILS),
    ],
)
def test_input_changes(direction, difference, spread, of_control_regime, verdict):
    table = pd.concat(
        [
            study.input_length("accuracy", 0.9, difference, spread),
            study.input_length("accuracy", 0.8, of_control_regime, 0.01, "full_equal_depth"),
            study.input_length("accuracy", 0.9, -9, 0.01, against="frozen_equal_length"),
        ]
    )
    claim = {"regime": "full_equal_length", "measure": "accuracy", "direction": direction}
    claim |= {"against": None, "controls": ["full_equal_depth", "another"]}
    found = tests.input_changes(tables(input_length=table), "level", **claim)
    assert (found["verdict"], found["value"]) == (verdict, difference)
    assert numbers_in(found["why"])[:2] == pytest.approx([0.9, 0.9 - difference])
    assert of_control(found, "another") == []
    assert of_control(found, "full_equal_depth") == [of_control_regime]
    assert numbers_in(found["unit"]) == ([] if np.isnan(spread) else [95, 30])
    assert states(found["why"], 0) == (spread > abs(difference)), "an interval that includes it"


def test_inputs_that_are_not_there_or_have_nothing_to_lose():
    claim = {"regime": "full_equal_length", "measure": "mitochondrial_in_top"}
    claim |= {"direction": "down", "controls": [], "against": None}
    for lacking in ({}, tables(input_length=study.input_length("accuracy", 1, 0, 0))):
        with pytest.raises(NotTestable, match=r"mitochondrial_in_top.*tokens\.variants"):
            tests.input_changes(lacking, "level", **claim)
    none = tables(input_length=study.input_length("mitochondrial_in_top", 2, 2, 1))
    with pytest.raises(NotTestable, match=r"mitochondrial_in_top.*\b0\b.*full"):
        tests.input_changes(none, "level", **claim)


def test_one_seed_has_no_range():
    genes = study.track("attention_total", study.FIRST, seeds=(1,))
    claim = {"genes": GROUP, "n_top": 5, "count": 5, "controls": [], "track": "attention_total"}
    found = tests.group_leads(tables(genes=genes), "level", regime="full", **claim)
    assert np.isnan(found["ci_low"])
    assert np.isnan(found["ci_high"])
    assert numbers_in(found["unit"]) == [5], "of the first; of no number of seeds"
