"""The works that are measured: what is done, on which sides, and who is held against whom."""
