# Comes in: what the study was given, and every table and model that others build on. Goes out:
# provenance.json and ro-crate-metadata.json.
from types import SimpleNamespace

from keygenes.core.readers import code_of
from snakemake import __version__ as snakemake_version

# What the study is given by others: {what it is: path}.
GIVEN = {
    **RESOLVED["given"],
    **({"claims": CLAIMS} if STUDY.claims else {}),
    **{
        f"reader '{reader.name}', file '{Path(path).name}'": path
        for reader in STUDY.readers.values()
        for path in code_of(reader)
    },
}

ABOUT = {
    "config": config,
    "given": list(GIVEN),
    "sources": RESOLVED["downloads"],
    "entries": RESOLVED["entries"],
    "rules": rules_digest(),
    "scripts": script_digests(),
}


rule record_provenance:
    """Record what the study rests on and what it made, with checksums."""
    input:
        given=list(GIVEN.values()),
        results=recorded_results(),
    output:
        record=out("provenance.json"),
        crate=out("ro-crate-metadata.json"),
    log:
        logfile("record_provenance"),
    conda:
        "../../envs/provenance.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        # Of such an object Snakemake keeps no copy, to show it whole with every edit of the config:
        # its digest stands for it. Another Snakemake makes the same tables: it is no reason to rerun.
        about=SimpleNamespace(**ABOUT, snakemake=snakemake_version),
        digest=f"config, registry entries and code: {digest_of(ABOUT)}",
        code=code_digest("record_provenance"),
    script:
        "../scripts/record_provenance.py"
