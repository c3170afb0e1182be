"""Reading and writing files: bundles, and one adapter for each foreign format."""
