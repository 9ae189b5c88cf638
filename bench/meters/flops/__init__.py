"""FLOPs: counted by torch, in closed form, and by the papers' rule of thumb."""
