"""Backward substitution: a linear functional of one node, rewritten as one of the nodes it depends on."""

from collections.abc import Mapping

import torch

from brinell.verify.graph import Graph
from brinell.verify.operators import Coefficients, Constants, Linearised


def substitute(
    graph: Graph, node: int, a: Coefficients, pieces: Mapping[int, Linearised]
) -> tuple[dict[int, Coefficients], Constants]:
    """(a_i for each node i that has no piece, c) with <a, node> >= the sum of <a_i, node i> + c.

    Each node is rewritten once, after all that depend on it: what its readers send is added up first
    (Xu et al. 2020, arXiv:2002.12920, algorithm 1).
    """
    held = {node: a}
    constant = torch.zeros(a.shape[:2], dtype=a.dtype)
    for i in range(node, 0, -1):
        if i not in held or i not in pieces:
            continue
        parts, offset = pieces[i].backward(held.pop(i))
        constant = constant + offset
        for parent, part in zip(graph.nodes[i].inputs, parts, strict=True):
            held[parent] = held[parent] + part if parent in held else part
    return held, constant
