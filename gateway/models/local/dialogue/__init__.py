"""The offline model's dialogue: rules, slots and templates, without I/O."""
