"""Studies in which each rule has its own environment and nothing else, against the same in one.

The environments are built by a stand-in for conda, from PyPI: see conda_standin.py for what this
does not show. `-k "not [demo]"` leaves out the demo: the same rules, more cells, models and seeds.
"""

import json
import subprocess
from pathlib import Path

import pytest
from env_files import ENVS, REPOSITORY, SCRIPTS, imports, rules, scripts_of, sources
from running import copy_checkout, promised_bytes, run_snakemake

pytestmark = pytest.mark.slow
STUDIES = {
    "micro": [
        "config/demo_thesis.yaml",
        "tests/config/micro.yaml",
        "tests/config/micro_evidence.yaml",
    ],
    "demo": ["config/demo_thesis.yaml"],
}
NOTHING_DOWNLOADED = {"download"}


@pytest.fixture(scope="module")
def environments(run_in_envs, tmp_path_factory):
    """Return {env: folder} of every environment; the study of config.yaml needs them all."""
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout") / "main")
    run = run_in_envs(checkout, "--conda-create-envs-only", timeout=3600)
    assert run.returncode == 0, run.text
    files = {file.read_bytes(): file.with_suffix("") for file in run_in_envs.prefix.glob("*.yaml")}
    return {env: files[(REPOSITORY / f"envs/{env}.yaml").read_bytes()] for env in ENVS}


@pytest.fixture(scope="module", params=STUDIES)
def study(request, run_in_envs, environments, tmp_path_factory):
    """Return the name of a study, its folders from environments and from one, and the witness."""
    args = ("--cores", 2, "--quiet", "rules", "--configfile", *STUDIES[request.param])
    folder = tmp_path_factory.mktemp(request.param)
    witness = folder / "witness.jsonl"
    apart = copy_checkout(folder / "apart/main")
    run = run_in_envs(apart, *args, timeout=7200, KEYGENES_WITNESS=str(witness))
    assert run.returncode == 0, run.text[-5000:]
    together = copy_checkout(folder / "together/main")
    run = run_snakemake(together, *args, timeout=7200)
    assert run.returncode == 0, run.text[-5000:]
    results = f"results/{request.param}"
    ran = [json.loads(line) for line in witness.read_text().splitlines()]
    return request.param, apart / results, together / results, ran


@pytest.mark.parametrize("env", ENVS)
def test_scripts_import_where_nothing_but_their_environment_is(env, environments):
    python = environments[env] / "bin/python"
    for script in scripts_of(env):
        ours = [f.relative_to(SCRIPTS).with_suffix("") for f in sources(script)[1:]]
        modules = [".".join(module.parts).removesuffix(".__init__") for module in ours]
        code = f"import sys; sys.path.append({str(SCRIPTS)!r}); import {', '.join(modules)}"
        run = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, f"{script} in {env}:\n{run.stderr}"


def test_each_job_ran_in_its_environment_and_took_nothing_from_elsewhere(study, environments):
    names = {str(folder): env for env, folder in environments.items()}
    env_of = {Path(r["script"]).stem: Path(r["env"]).stem for r in rules() if r["script"]}
    used = set()
    for job in study[-1]:
        if "/.snakemake/scripts/" in job["script"]:
            script = Path(job["script"]).name.split(".")[1]
            assert names[job["prefix"]] == env_of[script], script
            assert set(job["foreign"]) & imports(script) == set(), script
            used.add(env_of[script])
    assert used == set(ENVS) - NOTHING_DOWNLOADED


def test_results_are_those_of_the_single_environment(study):
    _, apart, together, _ = study
    first, second = promised_bytes(apart), promised_bytes(together)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_a_missing_package_fails_the_job_by_its_name(run_in_envs, tmp_path):
    checkout = copy_checkout(tmp_path / "main")
    env = checkout / "envs/matrices.yaml"
    lines = env.read_text(encoding="utf-8").splitlines(keepends=True)
    env.write_text("".join(line for line in lines if "anndata" not in line), encoding="utf-8")
    matrix = "results/micro/inputs/micro_sciplex.simulated.h5ad"
    run = run_in_envs(checkout, matrix, "--cores", 1, "--configfile", *STUDIES["micro"])
    assert run.returncode == 1
    assert "No module named 'anndata'" in run.text
    assert not (checkout / matrix).exists()
