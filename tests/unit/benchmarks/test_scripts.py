"""Every script of benchmarks/ starts: some run once a release, on a machine that is not at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"
# timing is read by all others, and sizing takes a folder alone
SCRIPTS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    and path.stem not in ("timing", "sizing")
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_says_what_it_does(name):
    found = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--help"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert f"{name}.py" in found.stdout


def test_there_are_scripts():
    assert {"attention", "study_on_gpu", "training_on_gpu"} <= set(SCRIPTS)
