"""`python -m gateway.cli`: runs the command `patchbay` where its script is not on the path."""

from gateway.cli.main import main

main()
