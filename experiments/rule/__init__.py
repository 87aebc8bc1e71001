"""The rule's experiment: designed mixtures, three evaluation sets, three rules."""
