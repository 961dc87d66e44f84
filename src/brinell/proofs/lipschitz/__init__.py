"""Proofs from Lipschitz constants: how fast a margin can decrease, globally or near an example."""
