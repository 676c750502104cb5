"""What the page says of where a study comes from: its inputs, settings and versions."""

from keygenes.report.wording import plural


def provenance_facts(record, study):
    """Return the page's facts of a study's record: {what it is: text}.

    Every registry entry has its line, followed by those of its files; what is made by the study
    itself has a line, too.
    """
    made = record["keygenes"]
    commit = made["commit"] and made["commit"][:12] + (" and changes" if made["changed"] else "")
    facts = {
        "keygenes": f"{made['version']}{f' (commit {commit})' if commit else ''}",
        "whole record": f"provenance.json and ro-crate-metadata.json in results/{record['study']}/"
        f": config, versions, and the sha256 of {plural(len(record['inputs']), 'input')} and "
        f"{plural(len(record['results']), 'result')}",
        "config sha256": record["config_sha256"],
        "folds": ", ".join(map(str, record["folds"])),
        **record["seeds"],
        "seeds": ", ".join(map(str, record["seeds"]["seeds"])),
    }
    files = {source["name"]: _place(source) for source in record["inputs"]}
    for what, said in _entries(study):
        facts[what] = ". ".join([*said, *([files.pop(what)] if what in files else [])])
        of_entry = [name for name in files if name.startswith(f"{what}, file ")]
        facts |= {name: files.pop(name) for name in of_entry}
    return facts | files


def _place(source):
    """Return where an input comes from, and its checksum."""
    place = source["url"] or f"Local file {source['path']}"
    return f"{place} (sha256 {source['sha256']})"


def _entries(study):
    """Yield what each registry entry of a study is called, and what is to be said of it."""
    entries, pretrained = study.entries, f"dataset '{study.pretrain['dataset']}'"
    for name, entry in entries["datasets"].items():
        yield f"dataset '{name}'", _about(entry)
    if study.regimes or study.gene_tasks:
        if entries["model"]:
            yield f"model '{study.model}'", _about(entries["model"])
        else:
            yield "model", [f"pretrained by this study on {pretrained}"]
    if entries["vocabulary"]:
        yield f"vocabulary '{study.tokens['vocabulary']}'", _about(entries["vocabulary"])
    else:
        yield "vocabulary", [f"made by this study from {pretrained}"]
    for name, reader in study.readers.items():
        yield f"reader '{name}'", [reader.title]
    for kind in ("gene set", "gene classes"):
        for name, entry in entries["gene_sets" if kind == "gene set" else "gene_classes"].items():
            yield f"{kind} '{name}'", _about(entry)


def _about(entry):
    """Return what a registry entry says of itself, as sentences without their full stops."""
    said = [entry["title"]]
    if "combine" in entry:
        said.append(f"Combined from {', '.join(entry['combine'])}")
    if "simulate" in entry:
        settings = ", ".join(f"{key} {value}" for key, value in sorted(entry["simulate"].items()))
        said.append(f"Simulated by this study ({settings})")
    if truth := entry.get("file", {}).get("truth_of"):
        said.append(f"Written by this study with the simulated dataset '{truth}'")
    return said + ([f"Licence: {entry['licence']}"] if "licence" in entry else [])


def all_versions(recorded, own):
    """Return {package: text} of the versions that made a study and those that wrote its report.

    Parameters
    ----------
    recorded : dict {package: [versions]}
        Of the record, which is written before the report.
    own : dict {package: version}
    """
    both = {
        name: sorted({*recorded.get(name, ()), *({own[name]} if name in own else ())})
        for name in sorted({*recorded, *own})
    }
    return {name: ", ".join(versions) for name, versions in both.items()}
