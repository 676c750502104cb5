"""What a study rests on and what it made, as a plain record and as an RO-Crate."""

import platform
import subprocess
from pathlib import Path

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from keygenes import __version__
from keygenes.core.files import checksum, digest_of, files_in
from keygenes.core.places import as_named
from keygenes.core.tables import read_stamp

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"  # Process Run Crate (Leo et al. 2024)
FORMATS = {
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
}


def seeds_of(config, prefix=""):
    """Return every key of a config that seeds something: {'seeds': [1, 2], 'tokens.seed': 1}."""
    found = {}
    for key, value in config.items():
        if key in ("seed", "seeds"):
            found[prefix + key] = value
        elif isinstance(value, dict):
            found |= seeds_of(value, f"{prefix}{key}.")
    return found


def commit_of(folder):
    """Return {commit, changed} of a checkout: its commit, and whether files differ from it.

    Both are None where the folder is no checkout, is part of another one, or git is not installed.
    """

    def git(*args):
        command = ["git", "-C", str(folder), *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if git("rev-parse", "--show-prefix") or not git("ls-files", "--", "workflow/Snakefile"):
            return {"commit": None, "changed": None}
        changed = bool(git("status", "--porcelain", "--", "."))
        return {"commit": git("rev-parse", "HEAD"), "changed": changed}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}


def described(path):
    """Return {bytes, sha256} of a file, or of all files in a folder."""
    files = files_in(path) if Path(path).is_dir() else [Path(path)]
    return {"bytes": sum(file.stat().st_size for file in files), "sha256": checksum(path)}


def given_files(given, sources):
    """Return a list of {name, path, bytes, sha256, url, published} of what a study was given.

    Parameters
    ----------
    given : dict {name: path}
    sources : dict
        {kind: {path: {'name', 'spec'}}} of downloads: where they came from, and the checksum that
        was published with them.
    """
    specs = {path: source["spec"] for kind in sources.values() for path, source in kind.items()}
    files = []
    for name, path in given.items():
        spec = specs.get(path, {})
        published = next((f"{k}:{spec[k]}" for k in ("sha256", "md5") if k in spec), None)
        source = {"url": spec.get("url"), "published": published}
        files.append({"name": name, "path": as_named(path), **described(path), **source})
    return files


def software_behind(tables, snakemake):
    """Return {package: [versions]} of Snakemake and over the stamps of tables.

    A package has more than one version after an update. Snakemake runs the rules and is in no
    stamp: tables are the same whichever version of it made them.
    """
    found = {"snakemake": {snakemake}}
    for path in tables:
        for package, version in read_stamp(path).get("versions", {}).items():
            found.setdefault(package, set()).add(version)
    return {package: sorted(found[package]) for package in sorted(found)}


def provenance(study, config, *, given, sources, code, checkout, snakemake, results, tables):
    """Return what a study rests on and what it made.

    The same config, code, inputs and machine give the same record: it holds no times.

    Parameters
    ----------
    study : Study
    config : dict
        Recorded as it is.
    given, sources : dict
        See `given_files`.
    code : dict {'rules': digest, 'scripts': {script: digest}}
    checkout : path-like
        Folder of the workflow.
    snakemake : str
        The version of Snakemake that runs it.
    results : path-like
        Folder of the study; the names of results are relative to it.
    tables : list of path-like
        Results, stamped with the versions that made them.

    Returns
    -------
    dict
        study, simulated, config, config_sha256, folds, seeds, keygenes {version, commit, changed,
        rules, scripts}, software, machine, entries, inputs (see `given_files`), results {path:
        {bytes, sha256}}
    """
    results = Path(results)
    return {
        "study": study.name,
        "simulated": study.simulated,
        "config": config,
        "config_sha256": digest_of(config),
        "folds": study.folds,
        "seeds": seeds_of(config),
        "keygenes": {"version": __version__, **commit_of(checkout), **code},
        "software": software_behind(
            (path for path in tables if Path(path).suffix == ".parquet"), snakemake
        ),
        "machine": {"platform": platform.platform(), "python": platform.python_implementation()},
        "entries": study.entries,
        "inputs": given_files(given, sources),
        "results": {str(Path(path).relative_to(results)): described(path) for path in tables},
    }


def licences(record):
    """Return the licences of a study's inputs as the registries have them, sorted."""
    entries = record["entries"]
    named = [*entries["datasets"].values(), *entries["gene_sets"].values()]
    named += [*entries["gene_classes"].values(), entries["model"], entries["vocabulary"]]
    return sorted({entry.get("licence", "not known") for entry in named if entry})


def run_crate(record, ended):
    """Return the metadata of an RO-Crate around a study's results, as JSON-LD.

    It follows the profile Process Run Crate: one action, by this software, from the inputs to the
    results, each with its sha256.

    Parameters
    ----------
    record : dict
        From `provenance`.
    ended : datetime.datetime
    """
    crate = ROCrate(version="1.1")
    crate.name = f"keygenes study {record['study']}"
    said = f" Simulated data: {record['simulated']}." if record["simulated"] else ""
    crate.description = f"Genes that tell classes of cells apart, study {record['study']}.{said}"
    crate.datePublished = ended
    crate.license = f"Not chosen here. Licences of the inputs: {'; '.join(licences(record))}"
    crate.metadata.extra_terms["sha256"] = "http://schema.org/sha256"  # not in RO-Crate 1.1's own
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, profile))

    def context(identifier, kind, **properties):
        filled = {key: value for key, value in properties.items() if value is not None}
        return crate.add(ContextEntity(crate, identifier, {"@type": kind, **filled}))

    versions = {package: ", ".join(found) for package, found in record["software"].items()}
    packages = [
        context(f"#{name}", "SoftwareApplication", name=name, version=version)
        for name, version in versions.items()
        if name != "keygenes"
    ]
    software = context(
        "#keygenes",
        "SoftwareApplication",
        name="keygenes",
        version=record["keygenes"]["commit"] or record["keygenes"]["version"],
    )
    software["softwareRequirements"] = packages
    settings = context(
        "#config",
        "PropertyValue",
        name="config sha256",
        value=record["config_sha256"],
    )
    inputs = [
        context(
            f"#input-{number}",
            "MediaObject",
            name=source["name"],
            contentUrl=source["url"],
            sha256=source["sha256"],
            contentSize=str(source["bytes"]),
            encodingFormat="application/octet-stream",
        )
        for number, source in enumerate(record["inputs"], start=1)
    ]
    files = [
        crate.add_file(
            dest_path=path,
            properties={
                "name": path,
                "sha256": found["sha256"],
                "contentSize": str(found["bytes"]),
                "encodingFormat": FORMATS[Path(path).suffix],
            },
        )
        for path, found in record["results"].items()
    ]
    context(
        "#run",
        "CreateAction",
        name=f"keygenes run of the study {record['study']}",
        description="Which genes a model looks at, held against differential expression",
        endTime=ended.isoformat(timespec="seconds"),
        instrument=software,
        object=[settings, *inputs],
        result=files,
    )
    crate.root_dataset["mentions"] = crate.dereference("#run")
    return crate.metadata.generate()
