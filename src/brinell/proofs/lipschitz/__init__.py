"""Proofs from Lipschitz constants: how fast a margin can fall, everywhere or near an example."""
