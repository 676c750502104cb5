"""The one error a user is meant to read."""

from keygenes.core.shown import printable, shortened

LONGEST = 700  # characters of what was found or expected: a file can name a thing at any length


class InputError(ValueError):
    """Something the user gave does not fit.

    The message is one sentence that names the file or config key, what was found,
    what was expected and what to do; `core.step` prints it without a traceback.
    """


def input_error(where: str, *, found: object, expected: str, remedy: str) -> InputError:
    """Return an `InputError` whose sentence has the four parts every message needs.

    Parameters
    ----------
    where : str
        File path or config key, e.g. ``"config key 'select.doses_um'"``.
    found, expected : str
        What is there, and what would have been right.
    remedy : str
        What the user can do, as an imperative.
    """
    parts = (shortened(printable(part), LONGEST) for part in (where, found, expected, remedy))
    return InputError("{}: found {}, expected {}; {}.".format(*parts))
