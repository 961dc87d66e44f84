"""Backward substitution (CROWN): a linear functional of a node, rewritten as one of the nodes it depends on."""

import math
from collections.abc import Mapping

from brinell.proofs.network.graph import Graph
from brinell.proofs.network.operators import Coefficients, Constants, Linearised, Local, Windows, is_small

Functional = Coefficients | Windows


def substitute(
    graph: Graph, node: int, a: Functional, relaxations: Mapping[int, Linearised], last_box_node: int = 0
) -> tuple[dict[int, Functional], Constants]:
    """(a_i for each node i without a relaxation, c) such that <a, node> >= sum of <a_i, node i> + c.

    relaxations: the linear relaxation of each node by its inputs. last_box_node: nodes up to there are not substituted.

    A node is substituted once, after all its readers, whose coefficients are added up first
    (Xu et al. 2020, arXiv:2002.12920, algorithm 1).
    """
    held: dict[int, Functional] = {node: a}
    constant: Constants = (a.values if isinstance(a, Windows) else a).new_zeros(1, 1)
    for i in range(node, last_box_node, -1):
        if i not in held or i not in relaxations:
            continue
        parts, offset = _step(relaxations[i], held.pop(i))
        constant = constant + offset
        for parent, part in zip(graph.nodes[i].inputs, parts, strict=True):
            held[parent] = _sum(held[parent], part) if parent in held else part
    return held, constant


def widest(graph: Graph, node: int, relaxations: Mapping[int, Linearised]) -> int:
    """The most values that a functional of one neuron of `node` has at any node, on its way back to the input."""
    shape = graph.nodes[node].shape
    sizes: dict[int, tuple[int, int] | None] = {node: (1, 1) if len(shape) == 3 else None}  # None: dense
    most = 0
    for i in range(node, -1, -1):
        if i not in sizes:
            continue
        size = sizes[i]
        shape = graph.nodes[i].shape
        relaxation = relaxations.get(i)
        most = max(most, math.prod(shape if size is None else (shape[0], *size)))
        back = None
        if size is not None and isinstance(relaxation, Local) and is_small(size, shape[1:]):
            back = relaxation.reach(size)
        for parent in graph.nodes[i].inputs:
            known = sizes.get(parent, back)
            sizes[parent] = (max(known[0], back[0]), max(known[1], back[1])) if known and back else None
    return most


def _step(relaxation: Linearised, a: Functional) -> tuple[tuple[Functional, ...], Constants]:
    if isinstance(a, Windows) and isinstance(relaxation, Local) and a.small():
        return relaxation.backward_windows(a)
    return relaxation.backward(written(a))


def _sum(a: Functional, b: Functional) -> Functional:
    return a.plus(b) if isinstance(a, Windows) and isinstance(b, Windows) else written(a) + written(b)


def written(a: Functional) -> Coefficients:
    """The functional with every coefficient written out."""
    return a.dense() if isinstance(a, Windows) else a
