"""Fine-tune one regime for one task, fold and seed."""

from keygenes.core.jobs import computing
from keygenes.core.runs import each_run
from keygenes.core.step import step
from keygenes.models.cells import TaskFold
from keygenes.models.encoder import ModelFiles
from keygenes.models.finetune import Regime, finetune
from keygenes.models.parallel import run_together

if __name__ == "__main__":  # processes started from here read this file again
    with step(snakemake):
        params, named, compute = snakemake.params, snakemake.wildcards, snakemake.params.compute
        outputs = {f"out_{name}": path for name, path in snakemake.output.items()}
        for run, files in each_run(params.runs, {**snakemake.input, **outputs}):
            tables = files["tokens"], files["labels"], files["splits"]
            model = files["weights"], files["config"], files["vocabulary"]
            run_together(
                finetune,
                compute["processes"],
                files=TaskFold(*tables, named.task, run.fold),
                model_files=ModelFiles(*model, params.max_length),
                out={name: files[f"out_{name}"] for name, _ in snakemake.output.items()},
                run=run,
                regime=Regime(
                    list(params.patterns),
                    dict(params.options),
                    named.regime,
                    params.cache,
                    files.get("states"),
                    compute["compile"],
                ),
                compute=computing(compute),
            )
