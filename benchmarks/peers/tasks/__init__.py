"""What load processes can be asked to do."""
