"""Records as runs of MLflow or TensorBoard: what is pushed, and where to. Each library is imported when it is used."""
