"""The facts that a text states, whatever its words: numbers, and names that it mentions."""

import re

NUMBER = re.compile(r"(?<![\w.,])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")


def numbers_in(text):
    """Return the numbers of a text in their order: '2,613 cells (-0.5)' has [2613.0, -0.5]."""
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def states(text, *values, digits=12):
    """Return whether a text has every one of some numbers, rounded to `digits` decimals."""
    return {round(float(value), digits) for value in values} <= set(numbers_in(text))


def names_in(text, names):
    """Return which of some names a text mentions as whole words, as a set."""
    return {name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}


def sentences_on(text, *names):
    """Return the sentences of a text that mention all of some names, as one text."""
    sentences = re.split(r"(?<=[.!?:]) ", text)
    return " ".join(s for s in sentences if names_in(s, names) == set(names))


def logged(caplog, *facts):
    """Return the logged messages that have every one of some facts: numbers, or texts."""
    numbers = [fact for fact in facts if not isinstance(fact, str)]
    texts = [fact for fact in facts if isinstance(fact, str)]
    return [
        message
        for message in caplog.messages
        if states(message, *numbers) and all(text in message for text in texts)
    ]
