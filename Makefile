# `make help` lists the targets: the lines that start with two hashes are what it prints.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: help env demo demo-thesis check unit dag micro test-demo test test-all test-faults test-envs test-cluster \
	config reruns bench calibration lock containerfile clean

## make help: this list
help:
	@sed -n 's/^## //p' Makefile

## make env: the environment in .venv/, from requirements.lock
env: $(VENV)/.complete

# Everything from the lock; pip alone, so that only a package index is needed.
$(VENV)/.complete: requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "Python 3.11 is needed, found %s.%s; set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	touch $@

## make demo: from a fresh checkout to a report on simulated cells, in minutes
demo: env
	$(BIN)/snakemake --cores $(CORES) --quiet rules --configfile config/demo.yaml

## make demo-thesis: every claim, regime and rule of the thesis, on simulated cells; a quarter of an hour
demo-thesis: env
	$(BIN)/snakemake --cores $(CORES) --quiet rules --configfile config/demo_thesis.yaml

PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
PARALLEL := --numprocesses=auto --dist=loadfile

## make check: style and types
check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

## make unit: functions on arrays and files, without Snakemake or a network; two minutes on two cores
unit: env
	OMP_NUM_THREADS=1 $(PYTEST) $(PARALLEL) tests/unit

## make dag: style, rules and dry runs; a minute
dag: check
	$(PYTEST) $(PARALLEL) tests/dag

## make micro: a small study, end to end; two minutes
micro: env
	$(PYTEST) tests/micro

test-demo: env
	$(PYTEST) tests/demo

## make test: these three and the demo with its assertions; about eleven minutes on two cores
test: dag unit micro test-demo

## make test-all: the rest as well: worlds of known answers, the demo of the thesis and what reads it, each rerun,
##     the demo twice, byte for byte, and on five seeds, faults, an environment per rule; hours
test-all: test
	$(PYTEST) -m "slow and not damaging" tests/unit tests/dag
	$(PYTEST) -m "slow and not damaging" -s tests/demo
	$(PYTEST) -m "not damaging" tests/workflow tests/worlds tests/browser tests/test_damaging.py
	$(MAKE) test-kernels test-faults test-envs

## make test-faults: kills, full disks, damaged files (docs/faults.md); as root, or parts are skipped
test-faults: env
	$(BIN)/python -m pytest -m "" -s tests/faults tests/unit/models/test_parallel.py

# Triton comes with CUDA builds of torch alone, and unpacks to a gigabyte.
## make test-kernels: the kernels for GPUs, in Triton's interpreter; two minutes
test-kernels: env
	test -d build/triton || $(BIN)/pip install --quiet --no-deps --target build/triton triton==3.9.0
	TRITON_INTERPRET=1 PYTHONPATH=build/triton $(PYTEST) -m "" tests/unit/attention/test_fused.py

## make config: config/config.yaml, after an edit of workflow/schemas/config.schema.yaml
config: env
	PYTHONPATH=workflow/scripts $(BIN)/python tests/config_file.py

# Needs the finished demo of the thesis.
## make reruns: which rules an edited key reruns, into docs/design.md
reruns: demo-thesis
	PYTHONPATH=workflow/scripts $(BIN)/python tests/rerun_table.py

## make test-envs: studies whose rules have an environment each, built by a stand-in for conda
test-envs: env
	$(BIN)/python -m pytest -m slow tests/envs

SLURM := slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge

## make test-cluster: studies through a real Slurm on this machine; as root, installs it where it is missing
test-cluster: env
	which slurmctld slurmd munged srun >/dev/null || [ "$$(id -u)" != 0 ] || ! which apt-get >/dev/null \
	  || { apt-get update -qq && apt-get install -y --no-install-recommends $(SLURM); }
	$(BIN)/python -m pytest -m slow tests/cluster

## make bench: every claim of speed, measured here, into docs/benchmarks.md (QUICK=1: a minute each)
bench: env
	$(BIN)/python benchmarks/write_page.py $(if $(QUICK),--quick)

## make calibration: how often each test says yes where nothing is there, into docs/calibration.md; about an hour,
##     kept piece by piece: a run goes on where one ended (QUICK=1: minutes, into results/calibration_quick/)
calibration: env
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration/make_page.py $(if $(QUICK),--quick)

## make lock: requirements.lock anew, from requirements.in
lock: requirements.in
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --requirement requirements.in
	{ echo "# Every package of the environment, pinned. Made by \`make lock\` from requirements.in (Python 3.11)."; \
	  .venv-lock/bin/pip freeze | sed 's/^\(torch==[0-9.]*\)+.*/\1/'; } > requirements.lock
	rm -rf .venv-lock

# The one thing that Snakemake asks conda here, its platform, the tests' stand-in answers as well.
## make containerfile: the Dockerfile of all environments, after an edit of envs/
containerfile: env
	PATH="$(CURDIR)/tests/envs/standin/bin:$(CURDIR)/$(BIN):$$PATH" snakemake --containerize > Dockerfile.new
	mv Dockerfile.new Dockerfile

## make clean: removes the environment and the demos
clean:
	rm -rf $(VENV) results/demo results/demo_thesis .snakemake
