"""How good a tuned model is: inference loss."""
