"""The same work on mqd and on its peers, in one run: `scripts/bench peers`."""
