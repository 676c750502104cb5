# Comes in: what the study was given, and every table and model that others build on. Goes out:
# provenance.json and ro-crate-metadata.json.

# What the study is given by others: {what it is: path}.
GIVEN = {
    **RESOLVED["given"],
    **({"claims": config["evidence"]["claims"]} if CLAIMS else {}),
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
        config=config,
        given=list(GIVEN),
        sources=DOWNLOADS,
        entries=RESOLVED["entries"],
        rules=rules_digest(WORKFLOW.parent),
        scripts=script_digests(),
        simulated=SIMULATED,
        code=code_digest("record_provenance"),
    script:
        "../scripts/record_provenance.py"
