"""Fetch one input file: from a local path, the mirror or its url."""

import os

from keygenes.core.step import step
from keygenes.inputs.download import fetch

with step(snakemake) as log:
    spec = dict(snakemake.params.source["spec"])
    spec["size"] = spec.pop("bytes", None)
    origin = fetch(
        snakemake.output[0],
        name=snakemake.params.source["name"],
        mirror=os.environ.get("KEYGENES_MIRROR") or None,
        **spec,
    )
    log.info("%s <- %s", snakemake.output[0], origin)
