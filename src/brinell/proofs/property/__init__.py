"""Properties decided: a witness or a proof."""
