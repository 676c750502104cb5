import json

from keygenes.core.changes import changed_code, changed_keys, leaves, since_finished

CONFIG = {
    "study": "demo",
    "seeds": [1, 2],
    "evidence": {"n_key_genes": 30, "claims": None},
    "regimes": [{"name": "frozen", "train": ["a"]}, {"name": "full", "train": ["*"]}],
}


def test_leaves_have_dotted_keys_and_entries_go_by_name():
    assert leaves(CONFIG) == {
        "study": "demo",
        "seeds": [1, 2],
        "evidence.n_key_genes": 30,
        "evidence.claims": None,
        "regimes.frozen.train": ["a"],
        "regimes.full.train": ["*"],
    }
    assert leaves({"a": {}, "b": [], "c": [{"x": 1}]}) == {"a": {}, "b": [], "c": [{"x": 1}]}


def test_a_changed_an_added_and_a_removed_key():
    now = json.loads(json.dumps(CONFIG))
    now["evidence"] = {"n_key_genes": 50}
    now["regimes"][1]["learning_rate"] = 0.002
    assert changed_keys(CONFIG, now) == [
        "evidence.n_key_genes: 30 -> 50",
        "evidence.claims: null -> (not there)",
        "regimes.full.learning_rate: (not there) -> 0.002",
    ]
    assert changed_keys(CONFIG, CONFIG) == []


def test_a_long_or_hostile_value_stays_on_a_short_line():
    (line,) = changed_keys({"a": "x" * 1000}, {"a": "\x1b[2J\n"})
    assert len(line) < 100
    assert line.isprintable()


def test_changed_code_is_named_for_its_rules():
    before = {f"rule_{i}": "x" for i in range(20)}
    assert changed_code(before, before) == []
    assert changed_code(before, before | {"rule_7": "y", "new": "z"}) == ["code of new, rule_7"]
    (line,) = changed_code(before, dict.fromkeys(before, "y"))
    assert line.startswith("code of 20 of 20 rules")


def test_everything_that_a_record_holds_is_compared():
    record = {
        "config": CONFIG,
        "entries": {"datasets": {"cells": {"files": {"matrix": {"md5": "1"}}}}},
        "keygenes": {"scripts": {"evaluate": "x"}, "rules": "r"},
    }
    same = {"config": CONFIG, "entries": record["entries"], "scripts": {"evaluate": "x"}}
    assert since_finished(record, **same, rules="r") == []
    lines = since_finished(
        record,
        config=CONFIG | {"seeds": [1]},
        entries={"datasets": {"cells": {"files": {"matrix": {"md5": "2"}}}}},
        scripts={"evaluate": "y"},
        rules="s",
    )
    assert lines == [
        "config key seeds: [1, 2] -> [1]",
        'registry entry datasets.cells.files.matrix.md5: "1" -> "2"',
        "code of evaluate",
        "the rule files (workflow/Snakefile, workflow/rules)",
    ]
