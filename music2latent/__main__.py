"""python -m music2latent"""

from .cli import main

main()
