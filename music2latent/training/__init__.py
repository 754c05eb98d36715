"""Training: configuration, data, loss and the loop. Nothing here knows the codec."""
