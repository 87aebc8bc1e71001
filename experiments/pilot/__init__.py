"""Six very different mixtures under several training settings: whether there is a signal to fit."""
