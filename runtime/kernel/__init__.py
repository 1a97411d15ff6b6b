"""System calls Python has no name for, and what is made of them alone."""
