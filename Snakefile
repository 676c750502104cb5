# keygenes: which genes does a foundation model look at, and is that real?
# Data flows one way: inputs -> cells -> expression | tokens -> models -> attention -> evidence -> report.
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


# Holds every environment of envs/, for users of Apptainer; without --sdm apptainer it is ignored.
containerized: config.get("image")


include: "workflow/rules/compared.smk"
include: "workflow/rules/compare_studies.smk"


if COMPARED:  # these targets are of a study, which is not read here

    for target in ("all", "check_only", "de_only", "train_only", "gene_classes_only"):

        rule:
            name:
                target
            default_target: target == "all"
            input:
                refusing(target),

else:

    include: "workflow/rules/common.smk"
    include: "workflow/rules/runs.smk"
    include: "workflow/rules/outputs.smk"
    include: "workflow/rules/messages.smk"
    include: "workflow/rules/inputs.smk"
    include: "workflow/rules/cells.smk"
    include: "workflow/rules/expression.smk"
    include: "workflow/rules/tokens.smk"
    include: "workflow/rules/models.smk"
    include: "workflow/rules/genes.smk"
    include: "workflow/rules/attention.smk"
    include: "workflow/rules/attribution.smk"
    include: "workflow/rules/evidence.smk"
    include: "workflow/rules/provenance.smk"
    include: "workflow/rules/figures.smk"
    include: "workflow/rules/report.smk"
    include: "workflow/rules/export.smk"

    rule all:
        default_target: True
        input:
            all_targets(),

    rule check_only:
        input:
            check_targets,

    rule de_only:
        input:
            de_targets(),

    rule train_only:
        input:
            train_targets(),

    rule gene_classes_only:
        input:
            gene_class_targets,

    if workflow.is_main_process:
        show_changes()
        show_primary()

    onstart:
        claim_results()

    onsuccess:
        show_summary()

    onerror:
        show_failure(log)
