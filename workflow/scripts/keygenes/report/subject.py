"""What a study is about, in words: a regime, a model from outside, or the genes alone."""

from keygenes.report.panels import spoken
from keygenes.report.wording import others_words


def regime_of(study):
    """Return the regime whose tracks are shown, or None where the study is about no regime."""
    return study.main if study.main_attended else None


def title_of(study, name):
    """Return what a regime, or a model from outside, is called in a sentence."""
    reader = study.readers.get(name)
    return others_words(reader.title) if reader else spoken(name)


def beside(study):
    """Return the names of the models that are told of beside the one in question.

    They are those from outside; where one of these is in question, the primary test's regime, too.
    """
    others = [name for name in study.readers if name != study.main]
    tested = [study.primary["regime"]] if study.primary else []
    return others if study.main_attended else [*others, *tested]


def page_title(study):
    """Return the title of a study's page."""
    if study.main_attended:
        return f"{study.name}: which genes does the model look at?"
    if study.main:
        return f"{study.name}: which genes does {title_of(study, study.main)} go by?"
    return f"{study.name}: which genes tell the classes apart?"


def leaders(study, n=None):
    """Return what the genes are called that a study lists first, to follow 'the' or 'of the'.

    Parameters
    ----------
    study : Study
    n : int, optional
        How many.
    """
    genes = "genes" if n is None else f"{n} genes"
    if study.main_attended:
        return f"{genes} that receive most attention"
    if study.main:
        return f"{genes} that {title_of(study, study.main)} scores highest"
    return f"{'' if n is None else f'{n} '}most differentially expressed genes"
