"""What can be asked of a model: one package a question."""
