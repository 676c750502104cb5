"""What a study is about, in words: a regime, a model from outside, or the genes alone."""

from typing import NamedTuple

from keygenes.core.regimes import BASELINES
from keygenes.report.panels import spoken
from keygenes.report.wording import capital, others_words


def regime_of(study):
    """Return the regime whose tracks are shown, or None where the study is about no regime."""
    return study.main if study.main_attended else None


def called(study, name):
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


class Subject(NamedTuple):
    """What the page calls the study's subject and its genes; ``{...}`` is filled in there.

    Attributes
    ----------
    heading : str
        The page's, after the study's name.
    question : str
        Of classes and cells.
    who : str
        What tells the classes apart, at the start of a sentence.
    accuracy_of : str
        The same on a card; of baselines, with the name of the best.
    shown : str
        What of the subject speaks for a gene.
    leaders : str
        The genes that are listed first, to follow 'the' or 'of the'; of `n`, with a blank behind.
    among : str
        The same on a card, to follow 'genes of a set among the n'.
    scored : str
        What becomes of a gene in a cell.
    """

    heading: str
    question: str
    who: str
    accuracy_of: str
    shown: str
    leaders: str
    among: str
    scored: str

    def asking(self, asked):
        """Return the question, of some classes."""
        return self.question.replace("{asked}", asked)  # titles may have braces of their own

    def leading(self, n=None):
        """Return what the genes that are listed first are called; so many of them."""
        return self.leaders.replace("{n}", "" if n is None else f"{n} ")


def subject(study):
    """Return the `Subject` of a study."""
    title = called(study, study.main) if study.main else ""
    if study.main_attended:
        return Subject(
            heading="which genes does the model look at?",
            question=f"Which genes does {study.model_title} look at when it is fine-tuned (regime "
            f"{title}) to tell {{asked}} of {study.dataset_title} apart, and is that real",
            who="The model",
            accuracy_of=f"the {title} model",
            shown="what it attends to",
            leaders="{n}genes that receive most attention",
            among="most attended",
            scored="read",
        )
    if study.main:
        return Subject(
            heading=f"which genes does {title} go by?",
            question=f"Which genes does {title} go by when it tells {{asked}} of "
            f"{study.dataset_title} apart, and is that real",
            who=capital(title),
            accuracy_of=spoken(study.main),
            shown="how it scores genes",
            leaders=f"{{n}}genes that {title} scores highest",
            among=f"that {spoken(study.main)} scores highest",
            scored="scored",
        )
    return Subject(
        heading="which genes tell the classes apart?",
        question=f"Which genes tell {{asked}} of {study.dataset_title} apart",
        who=f"The best of {len(BASELINES)} baselines",
        accuracy_of="the best baseline ({best})",
        shown="",
        leaders="{n}most differentially expressed genes",
        among="most differentially expressed",
        scored="scored",
    )
