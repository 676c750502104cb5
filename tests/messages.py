"""What every message to a user must be."""

import re


def assert_sentence(error, *parts):
    """Assert that a message is one sentence with found, expected and remedy, and holds `parts`.

    Parameters
    ----------
    error : BaseException or pytest.ExceptionInfo
    *parts : str
        Text that must occur: the file or key first of all.
    """
    text = str(getattr(error, "value", error))
    assert "\n" not in text
    assert re.fullmatch(r".+: found .+, expected .+; .+\.", text), text
    # What another program said stands in parentheses, what others wrote in quotes.
    plain = re.sub(r"\(.*?\)|'[^']*'", "", text)
    assert not re.search(r"\.\.$|\. [A-Z]", plain), text
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
    if parts:
        assert text.index(parts[0]) < text.index(": found "), text
