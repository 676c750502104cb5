"""Fine-tune one regime for one task, fold and seed."""

from keygenes.core.jobs import computing
from keygenes.core.runs import each_run
from keygenes.core.step import step
from keygenes.models.finetune import finetune
from keygenes.models.parallel import run_together

if __name__ == "__main__":  # processes started from here read this file again
    with step(snakemake):
        compute = snakemake.params.compute
        outputs = {f"out_{name}": path for name, path in snakemake.output.items()}
        for run, files in each_run(snakemake.params.runs, {**snakemake.input, **outputs}):
            run_together(
                finetune,
                compute["processes"],
                **files,
                task=snakemake.wildcards.task,
                run=run,
                regime=snakemake.wildcards.regime,
                patterns=list(snakemake.params.patterns),
                options=dict(snakemake.params.options),
                cache=snakemake.params.cache,
                max_length=snakemake.params.max_length,
                compute=computing(compute),
                compile=compute["compile"],
            )
