"""Branch and bound: subproblems, how they are split, leaves as linear programmes."""
