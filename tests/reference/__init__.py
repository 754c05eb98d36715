"""Vectors of the official system; fill_weights.py makes the weights, audio and noise they belong to."""
