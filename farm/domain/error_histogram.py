"""The histogram of an output's errors: how many elements are off by how much, and in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bins of the sizes of errors, evenly spaced in their logarithm; and of errors with their sign, evenly spaced.
_SIZES, _SIGNED = 60, 61


def error_histograms(
    pairs: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
) -> dict[str, Any]:
    """The document that is kept beside a run.

    Args:
        pairs: the reference's and the engine's array of every output, of one shape, by the output's name.
    """
    outputs = [{"name": name, **error_histogram(*pair)} for name, pair in pairs.items()]
    return {"version": 1, "outputs": outputs}


def error_histogram(expected: NDArray[Any], actual: NDArray[Any]) -> dict[str, Any]:
    """Counts of one output's errors.

    Returns:
        `elements`; `equal`, how many have no error; `non_finite`, how many have none that is a number; `size` with the
        `edges` and `counts` of absolute errors that are not 0; `signed` with those of engine less reference. A bin
        holds what is at least its lower edge and below its upper one, the last one its upper one too. Both are empty
        where there is no error.
    """
    wanted = np.asarray(expected, dtype=np.float64).ravel()
    found = np.asarray(actual, dtype=np.float64).ravel()
    usable = np.isfinite(wanted) & np.isfinite(found)
    error = found[usable] - wanted[usable]
    sizes = np.abs(error[error != 0])
    document: dict[str, Any] = {
        "elements": int(wanted.size),
        "equal": int(usable.sum() - sizes.size),
        "non_finite": int(wanted.size - usable.sum()),
        "size": {"edges": [], "counts": []},
        "signed": {"edges": [], "counts": []},
    }
    if sizes.size and np.isfinite(sizes).all():
        least, most = float(sizes.min()), float(sizes.max())
        edges = np.geomspace(least, most, _SIZES + 1) if most > least else np.array([least, most])
        edges[0], edges[-1] = least, most
        document["size"] = _counted(sizes, edges)
        document["signed"] = _counted(error, np.linspace(-most, most, _SIGNED + 1))
    return document


def _counted(values: NDArray[np.float64], edges: NDArray[np.float64]) -> dict[str, list[float]]:
    # Edges that rounding made equal are one: a histogram's must rise.
    edges = np.unique(edges) if edges[-1] > edges[0] else edges
    counts = np.histogram(values, edges)[0] if len(edges) > 1 and edges[-1] > edges[0] else [values.size]
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}
