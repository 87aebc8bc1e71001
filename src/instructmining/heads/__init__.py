"""Small linear heads on hidden states: what they are trained on, how they are measured."""
