"""The codec inside other people's frameworks: a module for each, tested against the real package (docs/integrations.md)."""
