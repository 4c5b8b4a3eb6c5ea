"""The courier: a program beside the server that makes spans and sends spans, log lines and figures to receivers."""
