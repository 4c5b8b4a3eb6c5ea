"""The serving process's side of telemetry: it starts the courier and hands it documents, log lines and figures."""
