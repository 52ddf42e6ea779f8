"""The clients that people use, one module for each peer, all with the same face."""
