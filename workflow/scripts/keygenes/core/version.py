"""A results folder holds the results of one version of keygenes."""

from pathlib import Path

from keygenes import __version__
from keygenes.core.errors import input_error
from keygenes.core.files import PathLike, write_text


def check_version(folder: str | Path) -> None:
    """Raise an `InputError` where the results in a folder are those of another version.

    What its code changes would be made again in place, and tables that this version no longer
    makes would stay beside the others.
    """
    file = Path(folder) / "version.txt"
    made_by = file.read_text(encoding="utf-8").strip() if file.is_file() else __version__
    if any(Path(folder).glob("cells/splits/seed*.parquet")):  # folds were named after seeds
        raise input_error(
            str(folder),
            found="results of keygenes 0.1, which took folds and training seeds for one",
            expected=f"those of keygenes {__version__}",
            remedy="move the folder away, or change the config key 'study' (docs/upgrading.md)",
        )
    if made_by != __version__:
        raise input_error(
            str(folder),
            found=f"results of keygenes {made_by or '(not said)'}",
            expected=f"those of keygenes {__version__}",
            remedy="move the folder away or change the config key 'study' to keep them, or delete "
            f"{file} to go on in it, which makes again what the versions compute differently",
        )


def write_version(folder: str | Path) -> None:
    """Let the results in a folder be those of this version."""
    write_text(f"{__version__}\n", Path(folder) / "version.txt")


def claim_study(log: PathLike) -> None:
    """Let the study that a job's log is of be this version's, unless someone has said so.

    A run says so before its first job (`write_version`). Where the rules are part of another
    workflow, whose runs start in its own way, their jobs do. A disk that does not take it takes no
    result of the job either, which says so itself.

    Parameters
    ----------
    log : path-like
        results/{study}/logs/{job}.log; a log that lies elsewhere is of no study.
    """
    folder = Path(log).parents[1] if len(Path(log).parents) > 2 else Path()
    file = folder / "version.txt"
    if folder.parent.name != "results" or file.exists():
        return
    try:
        with open(file, "x", encoding="utf-8") as handle:  # of jobs that start together, one does
            handle.write(f"{__version__}\n")
    except FileExistsError:
        return
    except OSError:
        file.unlink(missing_ok=True)
