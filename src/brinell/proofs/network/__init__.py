"""A network as a graph of operators, and how it is read."""
