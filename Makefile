# make demo: from a fresh checkout to the report.   make test: the whole suite.   make check: style.
# make test-slow: worlds whose right answer is known; the demo twice, byte for byte; every rerun.
# make test-faults: kills, full disks, damaged files (docs/faults.md); as root, or parts are skipped.
# make test-envs: studies whose rules have an environment each, built by a stand-in for conda.
# make test-cluster: studies through a real Slurm on this machine; as root, installs it where it is missing.
# make containerfile: the Dockerfile of all environments, after an edit of envs/.
# make bench: every claim of speed, measured here, into docs/benchmarks.md (QUICK=1: a minute each).
# make calibration: how often each test says yes where nothing is there, into docs/calibration.md; about an hour,
# kept piece by piece: a run goes on where one ended (QUICK=1: minutes, into results/calibration_quick/).
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: demo test test-demo test-rest test-slow test-faults test-envs test-cluster check reruns bench calibration env lock \
	containerfile clean

env: $(VENV)/.complete

# Everything from the lock; pip alone, so that only a package index is needed.
$(VENV)/.complete: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, found %s.%s; set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	touch $@

demo: env
	$(BIN)/snakemake --cores $(CORES) --quiet rules --configfile config/demo.yaml

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

# Two at a time: what reads the finished demo, and all the rest.
DEMO_TESTS := $(addprefix tests/workflow/test_,demo.py reruns.py resume.py genes.py brought_model.py)

test: check
	$(MAKE) --jobs=2 test-demo test-rest

test-demo: env
	$(BIN)/python -m pytest $(DEMO_TESTS)

test-rest: env
	$(BIN)/python -m pytest -p no:cacheprovider tests $(addprefix --ignore=,$(DEMO_TESTS))

test-slow: env
	$(BIN)/python -m pytest -m slow tests/worlds tests/workflow

test-faults: env
	$(BIN)/python -m pytest -m "" -s tests/faults tests/unit/models/test_parallel.py

# The table of docs/design.md; needs the finished demo.
reruns: demo
	PYTHONPATH=workflow/scripts $(BIN)/python tests/rerun_table.py

test-envs: env
	$(BIN)/python -m pytest -m slow tests/envs

SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge

test-cluster: env
	which slurmctld slurmd munged srun >/dev/null || [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null \
	  || { apt-get update -qq && apt-get install -y --no-install-recommends $(SLURM); }
	$(BIN)/python -m pytest -m slow tests/cluster

bench: env
	$(BIN)/python benchmarks/write_page.py $(if $(QUICK),--quick)

calibration: env
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration/make_page.py $(if $(QUICK),--quick)

lock: requirements.in
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --requirement requirements.in
	{ echo "# Every package of the environment, pinned. Made by \`make lock\` from requirements.in (Python 3.11)."; \
	  .venv-lock/bin/pip freeze | sed 's/^\(torch==[0-9.]*\)+.*/\1/'; } > requirements.lock
	rm -rf .venv-lock

# The one thing that Snakemake asks conda here, its platform, the tests' stand-in answers as well.
containerfile: env
	PATH="$(CURDIR)/tests/envs/standin/bin:$(CURDIR)/$(BIN):$$PATH" snakemake --containerize > Dockerfile.new
	mv Dockerfile.new Dockerfile

clean:
	rm -rf $(VENV) results/demo .snakemake
