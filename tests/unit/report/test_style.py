import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keygenes.report import style
from keygenes.report.style import (
    CATEGORIES,
    class_colours,
    class_order,
    count,
    empty_figure,
    number,
    save_figure,
    styled,
    text_colour,
)


def test_number_keeps_three_digits_and_separates_thousands():
    assert number(0.123456) == "0.123"
    assert number(0) == "0"
    assert number(12.34) == "12.3"
    assert number(2048) == "2,048"
    assert number(3.2e-12) == "3.20e-12"
    assert number(float("nan")) == number(None) == count(float("nan")) == "–"
    assert count(1234567) == "1,234,567"


def test_doses_are_ordered_by_value_and_names_as_they_come():
    assert class_order(pd.Series(["12.5", "2.5", "0", "25"])) == ["0", "2.5", "12.5", "25"]
    assert class_order(pd.Series(["low", "high", None])) == ["low", "high"]
    levels = pd.Series(pd.Categorical(["high", "low"], ["low", "mid", "high"]))
    assert class_order(levels) == ["low", "high"]


def test_categories_get_okabe_ito_and_doses_a_scale():
    assert class_colours(["low", "high"]) == dict(zip(["low", "high"], CATEGORIES, strict=False))
    doses = class_colours(["0", "1.25", "25"])
    assert len(set(doses.values())) == 3
    assert not set(doses.values()) & set(CATEGORIES)
    assert len(set(class_colours([f"type{i}" for i in range(12)]).values())) == 12


def test_text_is_readable_on_its_background():
    assert text_colour("black") == "white"
    assert text_colour("#FDE725") == "black"


def test_a_figure_ignores_the_users_matplotlibrc():
    seen = {}
    look = styled(lambda: seen.update(matplotlib.rcParams))
    with matplotlib.rc_context({"font.size": 40, "text.usetex": True}):
        look()
        assert matplotlib.rcParams["font.size"] == 40
    assert (seen["font.size"], seen["text.usetex"]) == (style.STYLE["font.size"], False)


def save(folder, simulated):
    paths = folder / "a" / "figure.svg", folder / "a" / "figure.png"
    save_figure(empty_figure("nothing $x$ <b>"), *paths, simulated=simulated)
    return paths


def test_two_files_equal_bytes_no_date_and_nothing_else(tmp_path):
    first = [p.read_bytes() for p in save(tmp_path / "1", True)]
    second = [p.read_bytes() for p in save(tmp_path / "2", True)]
    assert first == second
    assert b"<dc:date>" not in first[0]
    assert sorted(p.name for p in (tmp_path / "1" / "a").iterdir()) == ["figure.png", "figure.svg"]
    with Image.open(io.BytesIO(first[1])) as image:
        assert round(image.info["dpi"][0]) == 300
        assert "Software" not in image.info


def test_simulated_figures_carry_the_mark_and_others_do_not(tmp_path):
    svg, png = save(tmp_path / "1", True)
    plain_svg, plain_png = save(tmp_path / "2", False)
    vermillion = np.array([0xD5, 0x5E, 0x00])

    def marked(path):
        with Image.open(path) as image:
            return (np.asarray(image.convert("RGB")) == vermillion).all(axis=2).sum()

    assert marked(png) > 1000
    assert marked(plain_png) == 0
    assert "simulated data" in svg.read_text()
    assert "simulated data" not in plain_svg.read_text()


def test_the_mark_is_not_left_on_the_figure(tmp_path):
    figure = empty_figure("nothing")
    before = len(figure.texts)
    save_figure(figure, tmp_path / "a.svg", tmp_path / "a.png", simulated=True)
    assert len(figure.texts) == before


def test_a_failed_save_leaves_nothing(tmp_path):
    figure = empty_figure("nothing")
    figure.savefig = lambda *a, **k: (_ for _ in ()).throw(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "a.svg", tmp_path / "a.png", simulated=False)
    assert list(tmp_path.iterdir()) == []
