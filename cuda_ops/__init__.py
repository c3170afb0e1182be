"""Custom operations, each once: its contract, a PyTorch reference, its kernel and its autograd."""
