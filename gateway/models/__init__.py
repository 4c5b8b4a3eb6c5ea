"""The models' legs, one for each vendor, and the models that run inside Patchbay."""
