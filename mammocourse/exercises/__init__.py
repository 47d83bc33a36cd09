"""The exercises that are checked by code, one module per chapter."""
