"""Rails that mark texts for the engine: they judge nothing, and no other rail sees their marks."""
