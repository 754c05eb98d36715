"""The one error for input that is refused at the door."""


class InputError(ValueError):
    """Input that cannot be used. The message says what came, what is accepted and what to do, in one line."""


def missing_extra(package: str, extra: str, purpose: str) -> InputError:
    """The error for an optional dependency that is not installed."""
    return InputError(f"{purpose} needs {package}, which is not installed: pip install 'music2latent[{extra}]'")
