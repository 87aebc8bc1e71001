"""How much of a ranked pool to train on."""
