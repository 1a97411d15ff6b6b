"""The container's root: a plan of steps, decided as data, and what each step does."""
