"""Archives of the package index, from which tasks and backbones are made: fetched by the user, read as they are."""
