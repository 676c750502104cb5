import pytest
from messages import assert_sentence
from studies import put, schema

from keygenes.core import config as settings
from keygenes.core.errors import InputError
from keygenes.core.regimes import (
    PRESETS,
    counterpart,
    finetune_options,
    kind_of,
    tasks_of,
    trained_patterns,
)


def test_a_regime_is_a_list_of_patterns_whatever_its_form():
    assert trained_patterns({"name": "a", "train": ["classifier.*"]}) == ["classifier.*"]
    frozen = ["*", "!bert.encoder.layer.0.*", "!bert.encoder.layer.1.*"]
    assert trained_patterns({"name": "a", "freeze_layers": 2}) == frozen
    assert trained_patterns({"name": "a", "preset": "upstream"}) == ["*"]
    head = ["bert.pooler.*", "classifier.*"]
    assert trained_patterns({"name": "a", "train": ["head"]}) == head


def test_a_regime_s_own_keys_win_over_its_preset_and_that_over_the_section(study):
    whole = study["finetune"]
    section = {k: v for k, v in whole.items() if k not in ("cache", "convergence")}  # how, not what
    until_the_end = {"converge": None}
    assert finetune_options(whole, {"name": "a", "train": ["*"]}) == section | until_the_end
    upstream = finetune_options(whole, {"name": "a", "preset": "upstream"})
    assert upstream == PRESETS["upstream"] | until_the_end
    for preset in PRESETS.values():
        assert set(section) == set(preset), "a preset leaves no key to the section"
    assert (upstream["epochs"], upstream["warmup_steps"], upstream["warmup_fraction"]) == (
        *(10, 500, None),
    )
    own = finetune_options(whole, {"name": "a", "preset": "upstream", "epochs": 2})
    assert own == {**upstream, "epochs": 2}
    head = finetune_options(whole, {"name": "a", "train": ["classifier.*"], "converge": True})
    assert head["converge"] == whole["convergence"]


def test_a_preset_is_a_regime_of_its_own(study):
    study["regimes"].append({"name": "upstream", "preset": "upstream"})
    settings.check(study, schema("config"), "config key")
    settings.check_relations(study)
    put(study, "regimes.0.preset", "thesis")
    with pytest.raises(InputError) as error:
        settings.check(study, schema("config"), "config key")
    assert_sentence(error, "config key 'regimes[0].preset'", "'thesis'", "upstream")


def test_the_counterpart_of_a_regime_differs_in_one_key_alone(study):
    regimes = {regime["name"]: regime for regime in study["regimes"]}
    found = {name: counterpart(name, regimes, "tokens") for name in regimes}
    assert {name: other for name, other in found.items() if other} == {
        **{"shuffled_order": "full", "full_equal_length": "full", "full_equal_depth": "full"},
        "frozen_equal_length": "frozen",
    }
    assert counterpart("full_random_split", regimes, "split") == "full"
    regimes["full_equal_length"] = {**regimes["full_equal_length"], "epochs": 1}
    assert counterpart("full_equal_length", regimes, "tokens") is None


def test_a_regime_is_a_control_a_probe_or_trained(study):
    regimes = {regime["name"]: regime for regime in study["regimes"]}
    kinds = {name: kind_of(regime) for name, regime in regimes.items()}
    assert [name for name, kind in kinds.items() if kind == "probe"] == [
        "linear_probe",
        "logistic_genes",
    ]
    assert {kinds[name] for name in ("frozen", "last_layer", "full")} == {"trained"}
    assert {kinds[name] for name in ("random_encoder", "permuted_labels")} == {"control"}
    assert kinds["full_random_split"] == kinds["full_equal_depth"] == "control"


def test_a_regime_is_for_all_tasks_of_cells_unless_it_names_some(study):
    study["tasks"].append({"name": "dosage", "type": "gene", "gene_classes": "mine"})
    assert tasks_of({"name": "a"}, study) == ["dose", "level"]
    assert tasks_of({"name": "a", "tasks": ["level"]}, study) == ["level"]
