"""The engine that runs cells on the nodes of a Ray cluster."""
