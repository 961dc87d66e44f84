"""What a verifier is asked, and the backward substitution of linear functionals."""
