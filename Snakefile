# keygenes: which genes does a foundation model look at, and is that real? All that there is: workflow/Snakefile.
include: "workflow/Snakefile"


workflow.default_target = DEFAULT_TARGET  # of what a file includes, Snakemake takes none
