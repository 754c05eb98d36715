"""The codec in other people's frameworks, a module for each (docs/integrations.md)."""
