"""How `nano`, the small decoder in `bench/models/nano/`, was trained; no part of the installed package."""
