"""The two kinds of tasks: classes of cells, and classes of genes."""

from typing import Any


def cell_tasks(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks that predict a class of each cell, as the config has them."""
    return [task for task in config["tasks"] if task.get("type", "cell") == "cell"]


def gene_tasks(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tasks that predict a class of each listed gene, as the config has them."""
    return [task for task in config["tasks"] if task.get("type") == "gene"]
