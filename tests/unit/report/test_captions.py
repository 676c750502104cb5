import pytest

from keygenes.report.captions import CAPTIONS, caption, plain_text

FILES = sorted(CAPTIONS.glob("*.rst"))


def test_an_unknown_caption_is_an_error():
    with pytest.raises(FileNotFoundError):
        caption("figure10_none")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_captions_are_valid_rst_and_plain_once_stripped(path):
    core = pytest.importorskip("docutils.core")
    jinja2 = pytest.importorskip("jinja2")
    source = path.read_text(encoding="utf-8")
    config = {"study": "demo", "dataset": "cells", "tasks": [{"name": "level"}, {"name": "dose"}]}
    rendered = jinja2.Template(source).render(snakemake={"config": config})
    # halt_level 2: a warning is an error
    core.publish_string(rendered, writer="null", settings_overrides={"halt_level": 2})
    shown = plain_text(source)
    assert shown
    assert not set("`{}") & set(shown)


def test_markup_is_removed_and_text_kept():
    source = (
        "A ``code`` and *soft*,\n**loud** `link <https://example.org>`_ 2 * 3 * 4.\n\nNext\n===="
    )
    assert plain_text(source) == "A code and soft, loud link 2 * 3 * 4.\n\nNext"
