"""Each environment names what its rules import, no more and no less, at the lock's versions."""

import re

import pytest
import yaml
from env_files import ENVS, REPOSITORY, SCRIPTS, locked, needed, pins, rules, scripts_of

CHANNELS = ["conda-forge", "bioconda", "nodefaults"]
HIDDEN_IMPORT = r"import_module|__import__|find_spec|load_source|exec\("


def test_every_rule_but_targets_runs_a_script_in_an_environment():
    for rule in rules():
        if rule["target"]:
            assert not rule["env"], rule
        else:
            assert rule["script"], f"{rule['name']} runs something else than a script"
            assert re.fullmatch(r"\.\./\.\./envs/\w+\.yaml", rule["env"] or ""), rule
    used = {re.search(r"envs/(\w+)", rule["env"])[1] for rule in rules() if rule["env"]}
    assert used == set(ENVS)


def test_every_script_is_run_by_some_rule():
    run = {script for env in ENVS for script in scripts_of(env)}
    assert run == {file.stem for file in SCRIPTS.glob("*.py")}


@pytest.mark.parametrize("env", ENVS)
def test_an_environment_holds_what_its_scripts_import(env):
    pinned = set(pins(env)[0])
    assert needed(env) - pinned == set(), "imported, not in the environment"
    assert pinned - needed(env) == set(), "in the environment, not imported"


def test_no_import_is_hidden_from_this_test():
    for file in SCRIPTS.rglob("*.py"):
        found = re.search(HIDDEN_IMPORT, file.read_text(encoding="utf-8"))
        assert not found, f"{file.name}: {found[0]}"


@pytest.mark.parametrize("env", ENVS)
def test_pins_are_the_locks(env):
    (pinned, python), (versions, locked_python) = pins(env), locked()
    assert pinned == {name: versions.get(name) for name in pinned}
    assert python == locked_python


@pytest.mark.parametrize("env", ENVS)
def test_channels_are_the_same_everywhere(env):
    content = yaml.safe_load((REPOSITORY / f"envs/{env}.yaml").read_text(encoding="utf-8"))
    assert content["channels"] == CHANNELS
    assert set(content) == {"channels", "dependencies"}


def test_the_lock_has_what_a_study_on_slurm_needs():
    assert {"snakemake", "snakemake-executor-plugin-slurm"} <= set(locked()[0])
