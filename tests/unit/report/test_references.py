import re
from pathlib import Path

import pytest
import yaml
from messages import assert_sentence
from study_configs import references, schema

from keygenes.core.errors import InputError
from keygenes.report.references import (
    bibtex,
    bibtex_entry,
    keys_of_citation,
    mark,
    own_entry,
    read_references,
    reference_list,
    reference_text,
    title_kept,
    with_marks,
)

WORKS = {
    "abnar2020": {
        **{"type": "inproceedings", "authors": ["Abnar, Samira", "Zuidema, Willem"]},
        **{"title": "Quantifying Attention Flow", "booktitle": "ACL", "year": 2020},
        **{"pages": "4190-4197", "doi": "10.18653/v1/2020.acl-main.385"},
    },
    "molder2021": {
        **{"type": "article", "authors": ["Mölder, Felix", "Jablonski, Kim-Philipp", "others"]},
        **{"title": "Sustainable data analysis", "journal": "F1000 & more", "year": 2021},
        **{"volume": "10", "number": "1", "pages": "33"},
    },
    "crate2022": {
        **{"type": "preprint", "authors": ["RO-Crate Community"], "title": "Crates: 50 % of all"},
        **{"journal": "arXiv", "year": 2022, "arxiv": "2201.00001"},
    },
}


@pytest.fixture(autouse=True)
def _here(repository, monkeypatch):
    monkeypatch.chdir(repository)


def parsed(text):
    """Return {key: (type, {field: value})} of BibTeX in the plain form that we write."""
    found = {}
    for entry in re.split(r"\n(?=@)", text):
        head, *lines, end = entry.strip().split("\n")
        kind, key = re.fullmatch(r"@([a-z]+)\{([a-z0-9]+),", head).groups()
        assert end == "}"
        fields = {}
        for line in lines:
            field, value = re.fullmatch(r"  ([a-z]+) = \{(.+)\},", line).groups()
            plain = re.sub(r"\\.", "", value)
            depth = 0
            for letter in plain:
                depth += {"{": 1, "}": -1}.get(letter, 0)
                assert depth >= 0, line
            assert depth == 0, line
            if field not in ("doi", "eprint"):
                assert not set(plain) & set("%&$#_~^"), line
            fields[field] = value
        assert key not in found
        found[key] = kind, fields
    return found


def test_works_are_marked_by_their_authors_and_year():
    assert [mark(entry) for entry in WORKS.values()] == [
        *("Abnar and Zuidema, 2020", "Mölder et al., 2021", "RO-Crate Community, 2022"),
    ]
    text, keys = with_marks("As in [@molder2021; @abnar2020] and [@abnar2020].", WORKS)
    assert text == (
        "As in (Mölder et al., 2021; Abnar and Zuidema, 2020) and (Abnar and Zuidema, 2020)."
    )
    assert keys == ["molder2021", "abnar2020"]
    with pytest.raises(KeyError):
        with_marks("[@nobody1999]", WORKS)


def test_a_citation_of_a_registry_finds_its_works_by_doi():
    assert keys_of_citation("doi:10.18653/V1/2020.acl-main.385; doi:10.1/x", WORKS) == (
        ["abnar2020"],
        [],
    )
    assert keys_of_citation("see doi:10.1234/abc (2020).", WORKS) == ([], ["10.1234/abc"])
    assert keys_of_citation(None, WORKS) == ([], [])


def test_the_list_is_sorted_and_holds_what_is_cited_once():
    found = reference_list(["molder2021", "crate2022", "molder2021"], WORKS)
    assert [key for key, _, _ in found] == ["molder2021", "crate2022"]
    assert found[0][1:] == (
        "Mölder F, Jablonski KP, et al. (2021). Sustainable data analysis. F1000 & more 10(1): 33.",
        None,
    )
    assert found[1][2] == "https://arxiv.org/abs/2201.00001"
    assert reference_text(WORKS["abnar2020"]) == (
        "Abnar S, Zuidema W (2020). Quantifying Attention Flow. In: ACL: 4190–4197."
    )


def test_accents_do_not_change_the_order():
    names = {
        key: {**WORKS["molder2021"], "authors": [f"{name}, A"]}
        for key, name in (
            ("b2021", "Mölder"),
            ("a2021", "Muzellec"),
            ("c2021", "Mo"),
        )
    }
    assert [key for key, _, _ in reference_list(names, names)] == ["c2021", "b2021", "a2021"]


def test_capitals_of_a_title_are_kept():
    assert title_kept("PyDESeq2: a python package of RNA_seq") == (
        r"{PyDESeq2:} a python package of {RNA\_seq}"
    )
    assert title_kept("Sanity Checks") == "Sanity {Checks}"


def test_bibtex_is_escaped_and_has_the_fields():
    found = parsed(bibtex(["molder2021", "crate2022", "molder2021"], WORKS, OWN))
    assert list(found) == ["keygenes", "crate2022", "molder2021"]
    kind, fields = found["molder2021"]
    assert kind == "article"
    assert fields["author"] == "Mölder, Felix and Jablonski, Kim-Philipp and others"
    assert fields["journaltitle"] == r"F1000 \& more"
    kind, fields = found["crate2022"]
    assert kind == "online"
    assert fields["author"] == "{RO-Crate Community}"
    assert fields["title"] == r"Crates: 50 \% of all"
    assert (fields["eprint"], fields["eprinttype"]) == ("2201.00001", "arxiv")
    assert "4190--4197" in bibtex_entry("abnar2020", WORKS["abnar2020"])


OWN = {"type": "software", "authors": ["Someone"], "title": "keygenes", "version": "1.0"}


def test_keygenes_itself_comes_from_its_citation_file():
    citation = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    own = own_entry("CITATION.cff")
    assert own["title"] == citation["title"]
    assert own["version"] == citation["version"]
    assert parsed(bibtex([], {}, own))["keygenes"][1]["author"] == "{The keygenes authors}"


def test_every_work_of_the_product_can_be_listed_and_exported():
    works = references()
    found = parsed(bibtex(works, works, own_entry("CITATION.cff")))
    assert set(found) == {*works, "keygenes"}
    assert all(text.endswith(".") for _, text, _ in reference_list(works, works))
    assert all(key.rstrip("0123456789") and str(w["year"]) in key for key, w in works.items())


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        ({"journal": ...}, "references.molder2021.journal", "found nothing"),
        ({"doi": "https://doi.org/10.1/x"}, "references.molder2021.doi", "expected text"),
        ({"publisher": "x"}, "references.molder2021.publisher", "an unknown key"),
        ({"year": "2021"}, "references.molder2021.year", "expected a whole number"),
    ],
)
def test_a_bad_entry_is_named_in_a_sentence(tmp_path, change, where, said):
    entry = {k: v for k, v in {**WORKS["molder2021"], **change}.items() if v is not ...}
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"references": {"molder2021": entry}}))
    with pytest.raises(InputError) as error:
        read_references(path, schema("references"))
    assert_sentence(error, f"{path}, key '{where}'", said)


def test_two_works_with_one_mark_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    both = {"abnar2020": WORKS["abnar2020"], "zuidema2020": WORKS["abnar2020"]}
    path.write_text(yaml.safe_dump({"references": both}))
    with pytest.raises(InputError) as error:
        read_references(path, schema("references"))
    assert_sentence(error, "references.zuidema2020", "Abnar and Zuidema, 2020", "leave one out")
