"""Where the official package keeps `EncoderDecoder`; here it is `music2latent.EncoderDecoder`, the same class."""

from .codec import EncoderDecoder

__all__ = ["EncoderDecoder"]
