"""Whole collections: audio -> data sets of latents that can be proved whole (`encode.encode`), and back to training."""
