"""The works that a text cites: their marks in it, a list for readers, and a BibTeX file.

A text names a work by its key in brackets, ``[@theodoris2023]`` or ``[@wolf2018; @virshup2024]``,
and `with_marks` puts authors and years there. The works are in `workflow/report/references.yaml`.
"""

import re
import unicodedata

from keygenes.core.config import check, read_yaml
from keygenes.core.errors import input_error

KEYS = re.compile(r"\[@([a-z]+\d{4}(?:; @[a-z]+\d{4})*)\]")
DOI = re.compile(r"10\.\d{4,9}/[^\s;,]*[^\s;,.)]")
OTHERS = "others"  # the last of the authors, where there are more
LISTED = 6  # authors that a list names
# What BibLaTeX calls the types, and the fields of a work in its order; 'authors', which is no field
# of it, apart.
ENTRY_TYPES = {"preprint": "online"}
FIELDS = {
    "title": "title",
    "journal": "journaltitle",
    "booktitle": "booktitle",
    "degree": "type",
    "institution": "institution",
    "year": "year",
    "version": "version",
    "volume": "volume",
    "number": "number",
    "pages": "pages",
    "doi": "doi",
    "arxiv": "eprint",
}
VERBATIM = ("doi", "eprint")  # BibLaTeX reads these as they are
ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def read_references(path, schema):
    """Return the references in a file as {key: entry}.

    Parameters
    ----------
    path : path-like
    schema : dict
        `workflow/schemas/references.schema.yaml`.

    Raises
    ------
    InputError
        If an entry is not as the schema has it, or two have the same mark.
    """
    document = read_yaml(path)
    check(document, schema, f"{path}, key")
    references = document["references"]
    seen = {}
    for key, entry in references.items():
        other = seen.setdefault(mark(entry), key)
        if other != key:
            raise input_error(
                f"{path}, key 'references.{key}'",
                found=f"the mark ({mark(entry)}), which '{other}' has too",
                expected="works that a reader can tell apart",
                remedy="leave one out",
            )
    return references


def family(author):
    """Return the name that an author is listed under: that before the comma, else all of it."""
    return author.split(", ")[0]


def mark(entry):
    """Return how a text names a work: 'Abnar and Zuidema, 2020', 'Hao et al., 2021'."""
    names = [family(author) for author in entry["authors"]]
    if len(names) > 2 or names[-1] == OTHERS:
        names = [f"{names[0]} et al."]
    return f"{' and '.join(names)}, {entry['year']}"


def with_marks(text, references):
    """Return a text with marks in place of its keys, and the keys in the order they appear.

    Raises
    ------
    KeyError
        If there is no such work.
    """
    found = {}

    def marks(match):
        keys = [key.removeprefix("@") for key in match[1].split("; ")]
        found.update(dict.fromkeys(keys))
        return f"({'; '.join(mark(references[key]) for key in keys)})"

    return KEYS.sub(marks, text), list(found)


def keys_of_citation(citation, references):
    """Return the keys of the works that a registry's citation names by DOI, and the other DOIs.

    Parameters
    ----------
    citation : str or None
        Such as 'doi:10.1126/science.aax6234; doi:10.1038/s41592-023-02144-y'.

    Returns
    -------
    keys, others : lists of str
    """
    key_of = {entry["doi"].lower(): key for key, entry in references.items() if "doi" in entry}
    dois = DOI.findall(citation or "")
    known = [key_of[doi.lower()] for doi in dois if doi.lower() in key_of]
    return known, [doi for doi in dois if doi.lower() not in key_of]


# A list for readers


def initialled(author):
    """Return 'Theodoris CV' of 'Theodoris, Christina V.'; the name of a group as it is."""
    if ", " not in author:
        return author
    name, given = author.split(", ")
    return f"{name} {''.join(part[0] for part in given.replace('-', ' ').split())}"


def link(entry):
    """Return the address of a work, or None."""
    if "doi" in entry:
        return f"https://doi.org/{entry['doi']}"
    return f"https://arxiv.org/abs/{entry['arxiv']}" if "arxiv" in entry else None


def reference_text(entry):
    """Return a work as a line of a list of references, without its address (`link`)."""
    names = [initialled(author) for author in entry["authors"] if author != OTHERS]
    more = len(names) > LISTED or entry["authors"][-1] == OTHERS
    names = names[:LISTED] + (["et al."] if more else [])
    number = f"({entry['number']})" if "number" in entry else ""
    pages = entry.get("pages", "").replace("-", "–")
    where = {
        "article": entry.get("journal"),
        "preprint": entry.get("journal", "Preprint"),
        "inproceedings": f"In: {entry.get('booktitle')}",
        "thesis": f"{entry.get('degree')}, {entry.get('institution')}",
    }[entry["type"]]
    where += f" {entry['volume']}{number}" if "volume" in entry else ""
    where += f": {pages}" if pages else ""
    title = entry["title"].rstrip(".")
    return f"{', '.join(names)} ({entry['year']}). {title}. {where}."


def plain_letters(text):
    """Return a text in small letters without accents, to sort by: Mölder stands before Muzellec."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def reference_list(keys, references):
    """Return the works of some keys, each once, sorted by authors and year.

    Returns
    -------
    list of (key, text, address or None)
    """
    order = sorted(set(keys), key=lambda k: (plain_letters(mark(references[k])), k))
    return [(key, reference_text(references[key]), link(references[key])) for key in order]


# BibTeX


def escaped(text):
    """Return a text without characters that LaTeX reads as commands; accents stay (UTF-8)."""
    return "".join(ESCAPES.get(character, character) for character in text)


def title_kept(title):
    """Return an escaped title in which styles that write small letters leave the capitals.

    Every word with a capital is put into braces, save a plain capital at the very start.
    """
    words = title.split(" ")
    return " ".join(
        f"{{{escaped(word)}}}"
        if any(letter.isupper() for letter in (word if i else word[1:]))
        else escaped(word)
        for i, word in enumerate(words)
    )


def bibtex_author(author):
    """Return an author as BibTeX wants it: a group in braces, as it has no family name."""
    if ", " in author or author == OTHERS:
        return escaped(author)
    return f"{{{escaped(author)}}}"


def bibtex_entry(key, entry):
    """Return a work as an entry of a BibTeX file, for BibLaTeX with biber."""
    fields = {"author": " and ".join(map(bibtex_author, entry["authors"]))}
    for name, field in FIELDS.items():
        if name not in entry:
            continue
        value = str(entry[name])
        if field == "title":
            value = title_kept(value)
        elif field not in VERBATIM:
            value = escaped(value)
        fields[field] = value.replace("-", "--") if field == "pages" else value
    if entry["type"] == "preprint" and "journaltitle" in fields:  # no journal: who hosts it
        fields["organization"] = fields.pop("journaltitle")
    if "arxiv" in entry:
        fields["eprinttype"] = "arxiv"
    lines = "".join(f"  {field} = {{{value}}},\n" for field, value in fields.items())
    return f"@{ENTRY_TYPES.get(entry['type'], entry['type'])}{{{key},\n{lines}}}\n"


def bibtex(keys, references, own):
    """Return a BibTeX file of the works of some keys and of keygenes itself.

    Parameters
    ----------
    own : dict
        Of `own_entry`.
    """
    works = {key: references[key] for key in sorted(set(keys))}
    return "\n".join(bibtex_entry(*item) for item in {"keygenes": own, **works}.items())


def own_entry(path):
    """Return keygenes itself as an entry, from its ``CITATION.cff``."""
    document = read_yaml(path)
    authors = [
        author.get("name") or f"{author['family-names']}, {author['given-names']}"
        for author in document["authors"]
    ]
    entry = {key: str(document[key]) for key in ("title", "version", "doi") if key in document}
    if "date-released" in document:
        entry["year"] = str(document["date-released"])[:4]
    return {"type": "software", "authors": authors, **entry}
