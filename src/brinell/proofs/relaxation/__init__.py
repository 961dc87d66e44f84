"""Linear relaxations of a whole network, and their optimisation."""
