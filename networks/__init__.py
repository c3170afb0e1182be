"""Modules and pure functions: generators, discriminators, heads, frozen critics, and the files that hold them."""
