"""Attacks, carried out: what a hostile image, config or process tries against the runtime that handles it."""
