"""Running calls: their executor, their fast paths, their record, and how they begin."""
