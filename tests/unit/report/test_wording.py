import pytest

from keygenes.report.wording import (
    counted,
    listed,
    number,
    others_words,
    percent,
    plural,
    sentence,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10000, "10,000"),
        (1.0, "1"),
        (0.25, "0.25"),
        (0.001, "0.001"),
        (5.0e-5, "5 × 10⁻⁵"),
        (1.0e-4, "10⁻⁴"),
        (2.5e-4, "2.5 × 10⁻⁴"),
        (0.0, "0"),
        (2048.0, "2,048"),
    ],
)
def test_numbers_read_as_in_a_paper(value, text):
    assert number(value) == text


def test_shares_counts_and_lists_read_as_in_a_sentence():
    assert percent(0.05) == "5 %"
    assert [counted(n, "cell") for n in (1, 3, 12)] == ["one cell", "three cells", "12 cells"]
    assert [plural(n, "cell") for n in (0, 1, 3, 1200)] == [
        *("0 cells", "1 cell", "3 cells", "1,200 cells"),
    ]
    assert listed([]) == "" and listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b"], "or") == "a or b"
    assert sentence("p is small") == "P is small."


def test_what_others_wrote_names_no_reference():
    assert others_words("see [@theodoris2023]\nand more") == "see [ @theodoris2023] and more"
    assert len(others_words("x" * 1000)) == 300
