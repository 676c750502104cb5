"""Every track of evidence says what it is, and the lists are those of its facts."""

from studies import schema

from keygenes.core.tracks import (
    ATTENTION,
    ATTRIBUTIONS,
    BASELINES,
    MANY_PASSES,
    OF_MODELS,
    ONE_PASS,
    TRACKS,
    names,
)
from keygenes.evidence import attribution


def test_lists_of_tracks_are_those_of_their_facts():
    assert tuple(TRACKS) == (*BASELINES, *OF_MODELS)
    assert (*ATTENTION, *ATTRIBUTIONS) == OF_MODELS
    assert not set(ONE_PASS) & set(MANY_PASSES)
    assert {*ONE_PASS, *MANY_PASSES} == {*ATTRIBUTIONS, "attention_received"}
    assert names(mean=False) == ("attention_total",)
    assert names(kind="baseline", passes="one") == ()
    assert set(names(complete=True)) <= set(names(signed=True)) <= set(ATTRIBUTIONS)


def test_a_track_of_a_model_has_words_for_the_methods():
    for track in TRACKS.values():
        assert track.score and track.unit
        assert bool(track.method) == (track.name in OF_MODELS)


def test_the_config_may_name_every_track_of_a_model():
    assert set(schema("config")["definitions"]["track"]["enum"]) == set(OF_MODELS)


def test_a_track_of_each_cell_is_a_function_of_its_name():
    together = {"attention_readout", "rollout"}  # one pass makes both
    for name in {*ONE_PASS, *MANY_PASSES} - together:
        assert callable(getattr(attribution, name)), name
