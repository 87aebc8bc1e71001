"""Which rows overlap an evaluation file: by runs of words, by shingles, by embeddings.

A rule is fitted on evaluation losses, so a training row that repeats an evaluation prompt, or is
nearly one, would make memory look like quality.
"""
