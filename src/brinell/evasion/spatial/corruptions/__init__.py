"""The natural corruptions, by what they are of. `brinell.evasion.spatial.corruption` names them all.

Each takes (images, severity - 1, generator), and may leave [0, 1].
"""
