"""A Lightning module for each thing that is trained, thin: the maths lives in ``networks``."""
