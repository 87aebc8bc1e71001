"""How good tuned models are: inference loss, and whether one method's models are better."""
