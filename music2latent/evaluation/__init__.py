"""How good reconstructions are: figures, a report to listen to, and probes of the latents."""
