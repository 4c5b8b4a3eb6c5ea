"""The offline model: recognition, answers and speech on this machine, or at endpoints that the settings name."""
