"""The models' legs, one a vendor, and the models that Patchbay itself is."""
