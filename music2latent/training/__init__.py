"""Training: configuration, data, objectives and the loop, without the codec."""
